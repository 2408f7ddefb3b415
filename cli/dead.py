"""``dead list|show|replay|discard``: what was not answered, and a person's decision about it."""

import re
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterable
from dataclasses import asdict
from dataclasses import replace as changed

from batching.inspect import DeadLetter, conversation_of, dead_letter_headers, find_dead_letters
from batching.model import Reason
from batching.store import Store
from cli.common import (
    EXIT_ACT,
    EXIT_OK,
    Request,
    UsageError,
    confirmed,
    moment,
    open_accounts,
    open_store,
    printable,
    span,
    table,
    write,
    write_json,
)
from runtime.accounts import AccountConfig

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
        for letter in dead_letter_headers(store)
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
        for letter in find_dead_letters(store, batch_id)
        if conversation_id in (None, letter.conversation_id)
    ]
    if len(found) > 1:
        names = ", ".join(f"{letter.conversation_id}:{batch_id}" for letter in found)
        raise UsageError(f"several shards have this batch, name one of: {names}")
    return found[0] if found else None


_GONE = "there is no such dead letter"


def replay(request: Request) -> int:
    """Put letters back to be answered; 1 if one was not, or the operator declined.

    Raise UsageError, ConfigurationError or LedgerUnavailableError.
    """
    store, typed = open_store(request.environ), request.arguments
    if typed.all == bool(typed.batch):
        raise UsageError("name batches, or say --all")
    if not typed.all and (typed.reason or typed.account):
        raise UsageError("--reason and --account choose among --all")
    configs = open_accounts(request.environ)
    letters, outcomes = [], {}
    for name, letter in _chosen(store, request):
        known = letter and _with_account(store, configs, letter)
        if known:
            letters.append(known)
        else:
            outcomes[name] = "its account is not configured here" if letter else _GONE
    warnings = [line for letter in letters for line in _repeats(letter)]
    if warnings and not confirmed(warnings, "Replay all the same?", yes=typed.yes):
        return EXIT_ACT
    done: dict[str, int] = {}
    for letter in letters:
        count = store.replay(
            letter.conversation_id,
            letter.batch_id,
            letter.account_id,
            configs[letter.account_id].limits,
        )
        _note(letter, count, done, outcomes)
    return _report(request, "replayed", done, outcomes)


def discard(request: Request) -> int:
    """Forget letters for good; 1 if one was not there, or the operator declined.

    Raise UsageError, ConfigurationError or LedgerUnavailableError.
    """
    store, typed = open_store(request.environ), request.arguments
    chosen = {name: find_one(store, name) for name in typed.batch}
    letters = [letter for letter in chosen.values() if letter]
    size = sum(letter.size for letter in letters)
    warning = f"Messages that will be forgotten unanswered: {size}."
    if letters and not confirmed([warning], "Discard?", yes=typed.yes):
        return EXIT_ACT
    outcomes = {name: _GONE for name, letter in chosen.items() if letter is None}
    done: dict[str, int] = {}
    for letter in letters:
        _note(
            letter,
            store.discard(letter.conversation_id, letter.batch_id, Reason.DISCARDED),
            done,
            outcomes,
        )
    return _report(request, "discarded", done, outcomes)


def _chosen(store: Store, request: Request) -> Iterable[tuple[str, DeadLetter | None]]:
    typed = request.arguments
    if typed.all:
        for face in listed(store, reason=typed.reason, account=typed.account):
            name = f"{face.conversation_id}:{face.batch_id}"
            yield name, find_one(store, name)
    else:
        for name in dict.fromkeys(typed.batch):
            yield name, find_one(store, name)


def _with_account(
    store: Store, configs: dict[str, AccountConfig], letter: DeadLetter
) -> DeadLetter | None:
    """Return the letter with an account that can answer it, None if there is none.

    A batch that vanished may have lost its account's name; its customer's id still leads there.
    """
    if letter.account_id:
        return letter if letter.account_id in configs else None
    for account_id in configs:
        for message in letter.messages:
            if conversation_of(store, account_id, message.customer) == letter.conversation_id:
                return changed(letter, account_id=account_id)
    return None


def _repeats(letter: DeadLetter) -> list[str]:
    """Return the warning that belongs to a letter whose customer may get something twice."""
    if letter.parts_sent:
        left = f"{letter.parts_sent} of {letter.parts} parts of its answer have left"
        return [f"{letter.batch_id}: {left}; a replay asks the model anew and sends all of it."]
    if letter.may_repeat:
        return [f"{letter.batch_id}: the customer may have its answer, and would get a second."]
    return []


def _note(letter: DeadLetter, count: int, done: dict[str, int], outcomes: dict[str, str]) -> None:
    if count < 0:
        outcomes[letter.batch_id] = _GONE
    else:
        done[letter.batch_id] = count


def _report(request: Request, deed: str, done: dict[str, int], outcomes: dict[str, str]) -> int:
    if request.as_json:
        write_json({deed: done, "refused": outcomes})
    else:
        lines = [f"{name}: {why}." for name, why in outcomes.items()]
        lines.append(f"Batches {deed}: {len(done)}, messages: {sum(done.values())}.")
        write(lines)
    return EXIT_ACT if outcomes else EXIT_OK


_COLUMNS = ("batch", "reason", "account", "conversation", "age", "messages", "detail")


def arguments(parser: ArgumentParser) -> None:
    """Add the four actions and what each takes."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all of them, oldest first")
    showing = actions.add_parser("show", help="one, and what to do about it")
    replaying = actions.add_parser("replay", help="put back to be answered")
    discarding = actions.add_parser("discard", help="forget, unanswered, for good")
    for action, run_it in (
        (listing, _list),
        (showing, _show),
        (replaying, replay),
        (discarding, discard),
    ):
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.set_defaults(act=run_it)
    for action in (listing, replaying):
        action.add_argument("--reason", help="only those that died of it")
        action.add_argument("--account", help="only those of an account")
    showing.add_argument("batch", help="b and digits; conversation:batch where that is not enough")
    showing.add_argument("--content", action="store_true", help="show the texts, and to whom")
    replaying.add_argument("batch", nargs="*")
    replaying.add_argument("--all", action="store_true", help="all, or all that are chosen")
    discarding.add_argument("batch", nargs="+")
    for action in (replaying, discarding):
        action.add_argument("--yes", action="store_true", help="do not ask")


def run(request: Request) -> int:
    """Do what was asked. Raise UsageError, ConfigurationError or LedgerUnavailableError."""
    status: int = request.arguments.act(request)
    return status


def _list(request: Request) -> int:
    """Print the letters; 1 if there are any: each waits for a person."""
    store, typed = open_store(request.environ), request.arguments
    letters = listed(store, reason=typed.reason, account=typed.account)
    now_ms = store.watch().now_ms
    if request.as_json:
        write_json({"letters": [_as_json(letter, now_ms) for letter in letters]})
    elif letters:
        rows = [_COLUMNS, *(_row(letter, now_ms) for letter in letters)]
        reasons = dict.fromkeys(letter.reason for letter in letters)
        todo = [f"{reason}: {advice(reason)}" for reason in reasons]
        write([*table(rows), "", *todo])
    else:
        write(["No dead letters."])
    return EXIT_ACT if letters else EXIT_OK


def _show(request: Request) -> int:
    """Print one letter; 1 in any case: it waits for a person, or there is none."""
    store, typed = open_store(request.environ), request.arguments
    letter = find_one(store, typed.batch)
    if letter is None:
        write(["There is no such dead letter: it was decided about, or never was."])
        return EXIT_ACT
    now_ms = store.watch().now_ms
    if request.as_json:
        content = {"messages": [asdict(message) for message in letter.messages]}
        write_json(_as_json(letter, now_ms) | (content if typed.content else {}))
        return EXIT_ACT
    lines = [f"{name}: {cell}" for name, cell in zip(_COLUMNS, _row(letter, now_ms), strict=True)]
    lines += [f"died: {moment(letter.died_ms)} UTC", *_stage(letter), _todo(letter)]
    if typed.content:
        for message in letter.messages:
            about = f"{printable(message.customer)}, {message.kind}"
            lines += ["", about, *printable(message.text).splitlines()]
    else:
        lines.append("The texts are shown by --content.")
    write(lines)
    return EXIT_ACT


def _row(letter: DeadLetter, now_ms: int) -> tuple[str, ...]:
    account, age = letter.account_id or "unknown", span(max(0, now_ms - letter.died_ms))
    about = (letter.batch_id, letter.reason, account, letter.conversation_id)
    return (*about, age, str(letter.size), letter.detail or "-")


def _stage(letter: DeadLetter) -> list[str]:
    if not letter.stage:
        return []
    left = f", {letter.parts_sent} of {letter.parts} parts had left" if letter.parts else ""
    return [f"stage: {letter.stage}, attempt {letter.attempt}{left}"]


def _todo(letter: DeadLetter) -> str:
    twice = " The customer may have the answer, or a part of it." if letter.may_repeat else ""
    return f"to do: {advice(letter.reason)}{twice}"


def _as_json(letter: DeadLetter, now_ms: int) -> dict[str, object]:
    return {
        "batch": letter.batch_id,
        "conversation": letter.conversation_id,
        "account": letter.account_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "stage": letter.stage,
        "attempt": letter.attempt,
        "parts_left": letter.parts_sent,
        "parts": letter.parts,
        "died_ms": letter.died_ms,
        "age_ms": max(0, now_ms - letter.died_ms),
        "size": letter.size,
        "may_repeat": letter.may_repeat,
        "advice": advice(letter.reason),
    }
