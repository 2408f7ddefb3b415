"""Finds the dead letters that the operator means, and says what to do about each kind."""

import re

from batching.dead import DeadLetter, Letters
from batching.model import Reason
from batching.store import Store
from runtime.commands.verb import UsageError

_NAME = re.compile(r"(?:(c_[0-9a-f]{24}):)?(b[0-9]{1,20})")

_ADVICE: dict[str, str] = {
    Reason.POISON: (
        "workers died or our code failed on it each time; look for batch.crashed and "
        "worker.orphaned in the log, then replay"
    ),
    Reason.FATAL_PROVIDER: (
        "the provider refused it for good; correct what the detail names, then replay, or answer "
        "by hand and discard"
    ),
    Reason.FATAL_MODEL: (
        "the model refused it for good; correct key, model or prompt, then replay, or answer by "
        "hand and discard"
    ),
    Reason.DEADLINE: (
        "it was too old for an answer; WhatsApp takes none after 24 hours but a template: write "
        "by hand, then discard"
    ),
    Reason.AMBIGUOUS: (
        "nobody knows whether the answer left; look into the chat: if it is there discard, else "
        "replay"
    ),
    Reason.VANISHED: (
        "somebody deleted a part of it in Redis; find out who, read what is left, replay or "
        "answer by hand"
    ),
}


def advice(reason: str) -> str:
    """Return what a person does about a letter that died of ``reason``."""
    return _ADVICE.get(reason, "read it, then replay or discard")


def listed(store: Store, *, reason: str | None, account: str | None) -> list[DeadLetter]:
    """Return the faces of letters, oldest first; None chooses all. Raise UsageError."""
    if reason is not None and reason not in _ADVICE:
        raise UsageError(f"--reason must be one of: {', '.join(_ADVICE)}")
    chosen = (
        letter
        for letter in Letters(store).faces()
        if reason in (None, letter.reason) and account in (None, letter.account_id)
    )
    return sorted(chosen, key=lambda letter: letter.died_ms)


def find_one(store: Store, name: str) -> DeadLetter | None:
    """Return the letter of a batch with its messages, None for none. Raise UsageError."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError("a dead letter is named by b and digits: see dead list")
    conversation_id, batch_id = match.groups()
    found = [
        letter
        for letter in Letters(store).named(batch_id)
        if conversation_id in (None, letter.conversation_id)
    ]
    if len(found) > 1:
        names = ", ".join(f"{letter.conversation_id}:{batch_id}" for letter in found)
        raise UsageError(f"several shards have this batch, name one of: {names}")
    return found[0] if found else None
