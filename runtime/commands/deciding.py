"""``dead replay`` and ``dead discard``: what a person decides about dead letters."""

from collections.abc import Iterable
from dataclasses import replace as changed

from batching.dead import DeadLetter, Letters
from batching.place import owner
from batching.store import Store
from runtime.accounts import AccountConfig
from runtime.commands.letters import find_one, listed
from runtime.commands.verb import (
    EXIT_ACT,
    EXIT_OK,
    Request,
    UsageError,
    open_accounts,
    open_store,
    write,
    write_json,
)
from runtime.commands.words import confirmed

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
        count = Letters(store).replay(letter, configs[letter.account_id].limits)
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
        _note(letter, Letters(store).discard(letter), done, outcomes)
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
            if owner(store, account_id, message.customer) == letter.conversation_id:
                return changed(letter, account_id=account_id)
    return None


def _repeats(letter: DeadLetter) -> list[str]:
    """Return the warning that belongs to a letter whose customer may get something twice."""
    if letter.parts_left:
        left = f"{letter.parts_left} of {letter.parts} parts of its answer have left"
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
