"""``dead list|show|replay|discard|hold``: what was not answered, and what to do about it."""

import re
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from batching.alerts import code_of
from batching.hold import hold
from batching.inspect import (
    DeadLetter,
    conversation_of,
    dead_letter_headers,
    dead_letters,
    find_dead_letters,
)
from batching.model import Reason
from batching.store import FULL, Store
from cli.common import (
    Request,
    UsageError,
    actions_of,
    as_json,
    confirmed,
    printable,
    table,
    up_to,
)
from runtime.accounts import AccountConfig
from runtime.fleet import members
from runtime.meanings import kinds, meaning
from runtime.units import moment, span

_NAME = re.compile(r"(?:(c_[0-9a-f]{24}):)?(b[0-9]{1,20})")
_COLUMNS = ("batch", "reason", "account", "conversation", "age", "messages", "detail")
#: How long ``hold`` waits for bursts to end and leases to run out, s.
HOLD_S = 120
#: Within this, ``hold`` is run again of one restore, ms.
TOLD_MS = 3_600_000
_HOLDS = (
    "Every batch that waits becomes a dead letter, to be replayed or discarded one by one. "
    "This is for a ledger that was restored from a copy, before any process starts."
)
_NEVER_DEAD = {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER, Reason.HANDOVER}
#: The reasons that a dead letter may have.
REASONS = tuple(it for it in Reason if it not in _NEVER_DEAD)
_GONE = "there is no such dead letter"
_FULL = "its conversation holds too many unanswered messages, replay it when they are answered"


def arguments(parser: ArgumentParser) -> None:
    """Add the five actions and what each takes."""
    add = actions_of(parser)
    listing = add("list", "all of them, oldest first", _list)
    showing = add("show", "one, and what to do about it", _show)
    replaying = add("replay", "put back to be answered", _replay)
    discarding = add("discard", "delete for good, unanswered", _discard)
    holding = add("hold", "after a restore: make dead letters of what waits", _hold)
    known = "how many messages logs show that were accepted since the copy and not answered"
    holding.add_argument("--missing", type=up_to(10**9), metavar="COUNT", help=known)
    for action in (listing, replaying):
        action.add_argument("--reason", help="only those with this reason")
        action.add_argument("--account", help="only those of an account")
    showing.add_argument("batch", help="b and digits; conversation:batch where that is not enough")
    showing.add_argument("--content", action="store_true", help="show the texts, and to whom")
    replaying.add_argument("batch", nargs="*")
    replaying.add_argument("--all", action="store_true", help="all that --reason, --account select")
    discarding.add_argument("batch", nargs="+")
    for action in (replaying, discarding, holding):
        action.add_argument("--yes", action="store_true", help="do not ask")


def advice(reason: str) -> str:
    """Return why there is a dead letter with ``reason``, and what a person does about it."""
    known = kinds().get(reason)
    return f"{known.says}; {known.to_do}" if known else "read it, then replay or discard"


def _list(request: Request) -> bool:
    """Print dead letters; False if there are any, because each waits for a person."""
    store = request.open_store()
    letters, now_ms = _selected(store, request), store.watch().now_ms
    lines = ["No dead letters."]
    if letters:
        lines = table([_COLUMNS, *(_row(letter, now_ms) for letter in letters)])
        reasons = dict.fromkeys(letter.reason for letter in letters)
        lines += ["", *(f"{reason}: {advice(reason)}" for reason in reasons)]
    request.show({"letters": [_document(letter, now_ms) for letter in letters]}, lines)
    return not letters


def _show(request: Request) -> bool:
    """Print one dead letter; False in any case: it waits for a person, or there is none."""
    store, typed = request.open_store(), request.arguments
    letter = _find(store, typed.batch)
    if letter is None:
        request.show(
            {}, ["There is no such dead letter: it was replayed or discarded, or never existed."]
        )
        return False
    now_ms = store.watch().now_ms
    lines = [f"{name}: {cell}" for name, cell in zip(_COLUMNS, _row(letter, now_ms), strict=True)]
    twice = " The customer may have the answer, or a part of it." if letter.may_repeat else ""
    lines.append(f"died: {moment(letter.died_ms)} UTC")
    if letter.stage:
        sent = f", {letter.parts_sent} of {letter.parts} parts were sent" if letter.parts else ""
        lines.append(f"stage: {letter.stage}, attempt {letter.attempt}{sent}")
    means = meaning(code_of(letter.detail))
    if means:
        lines.append(f"means: {means.says}; {means.to_do}")
    lines.append(f"to do: {advice(letter.reason)}{twice}")
    document = _document(letter, now_ms)
    if typed.content:
        document["messages"] = [asdict(message) for message in letter.messages]
        document["reply"] = [
            {"part": n + 1, "state": letter.state_of(n), "text": text}
            for n, text in enumerate(letter.reply)
        ]
        lines += _content(letter)
    else:
        lines.append("The texts are shown by --content.")
    request.show(document, lines)
    return False


def _content(letter: DeadLetter) -> list[str]:
    """Return what the customer wrote, and each part of the answer with what became of it."""
    lines = []
    for message in letter.messages:
        header = f"{printable(message.customer)}, {message.kind}"
        lines += ["", header, *printable(message.text).splitlines()]
    for n, text in enumerate(letter.reply):
        header = f"answer, part {n + 1} of {len(letter.reply)}, {letter.state_of(n)}:"
        lines += ["", header, *printable(text).splitlines()]
    return lines


def _replay(request: Request) -> bool:
    """Put dead letters back to be answered; False if one was not, or the operator declined."""
    store, typed = request.open_store(), request.arguments
    if typed.all == bool(typed.batch):
        raise UsageError("name batches, or say --all")
    if not typed.all and (typed.reason or typed.account):
        raise UsageError("--reason and --account are for --all")
    configs = request.accounts()
    letters, refused = [], dict[str, str]()
    for name, letter in _chosen(store, request).items():
        if known := letter and _with_account(store, configs, letter):
            letters.append(known)
        else:
            refused[name] = "its account is not configured here" if letter else _GONE
    warnings = [line for letter in letters for line in _repeats(letter)]
    if warnings and not confirmed(warnings, "Replay all the same?", yes=typed.yes):
        return False

    def replay(letter: DeadLetter) -> int:
        limits = configs[letter.account_id].limits
        return store.replay(letter.conversation_id, letter.batch_id, letter.account_id, limits)

    return _apply(request, "replayed", replay, letters, refused)


def _discard(request: Request) -> bool:
    """Delete dead letters for good; False if one was not there, or the operator declined."""
    store, typed = request.open_store(), request.arguments
    chosen = {name: _find(store, name) for name in typed.batch}
    letters = [letter for letter in chosen.values() if letter]
    size = sum(letter.size for letter in letters)
    warning = f"Messages that will be deleted unanswered: {size}."
    if letters and not confirmed([warning], "Discard?", yes=typed.yes):
        return False
    refused = {name: _GONE for name, letter in chosen.items() if letter is None}

    def discard(letter: DeadLetter) -> int:
        return store.discard(letter.conversation_id, letter.batch_id, Reason.DISCARDED)

    return _apply(request, "discarded", discard, letters, refused)


def _hold(request: Request) -> bool:
    """Make dead letters of what waits; False if something still does, or the operator declined."""
    store = request.open_store()
    alive = [member.name for member in members(store.client) if member.is_alive]
    if alive:
        raise UsageError(f"stop all processes first, alive are: {', '.join(alive)}")
    if not confirmed([_HOLDS], "Go on?", yes=request.arguments.yes):
        return False
    _tell_of_copy(store, request.arguments.missing)
    held = hold(store, wait_s=HOLD_S)
    lines = [f"Batches held: {held.batches}. See dead list --reason restored."]
    if held.messages:
        lines.append(f"Messages that still wait: {held.messages}. Run this again.")
    request.show(asdict(held), lines)
    return not held.messages


def _tell_of_copy(store: Store, missing: int | None) -> None:
    """Alert a person, once, that this ledger is a copy, of when, and what is in no ledger."""
    # Nobody has collected since: the first flush of ``hold`` will.
    copied_ms = store.watch().heartbeat_ms
    when = f"made {moment(copied_ms)[:19]} UTC, " if copied_ms else ""
    count = "unknown" if missing is None else str(missing)
    detail = f"the copy: {when}messages accepted since and not answered: {count}"
    store.alert_once("ledger_restored", detail, cooldown_ms=TOLD_MS)


def _apply(
    request: Request,
    done: str,
    action: Callable[[DeadLetter], int],
    letters: list[DeadLetter],
    refused: dict[str, str],
) -> bool:
    """Apply an action to dead letters and print the outcome; False if one was refused."""
    sizes: dict[str, int] = {}
    for letter in letters:
        size = action(letter)
        if size < 0:
            refused[letter.batch_id] = _FULL if size == FULL else _GONE
        else:
            sizes[letter.batch_id] = size
    lines = [f"{name}: {why}." for name, why in refused.items()]
    lines.append(f"Batches {done}: {len(sizes)}, messages: {sum(sizes.values())}.")
    request.show({done: sizes, "refused": refused}, lines)
    return not refused


def _selected(store: Store, request: Request) -> list[DeadLetter]:
    """Return the headers that --reason and --account select, oldest first. Raise UsageError."""
    reason, account = request.arguments.reason, request.arguments.account
    if reason is not None and reason not in REASONS:
        raise UsageError(f"--reason must be one of: {', '.join(REASONS)}")
    found = (
        letter
        for letter in dead_letter_headers(store)
        if reason in (None, letter.reason) and account in (None, letter.account_id)
    )
    return sorted(found, key=lambda letter: letter.died_ms)


def _chosen(store: Store, request: Request) -> dict[str, DeadLetter | None]:
    """Return the dead letters that were typed or selected, by name; None if there is none."""
    if request.arguments.all:
        letters = dead_letters(store, _selected(store, request))
        return {f"{it.conversation_id}:{it.batch_id}": it for it in letters}
    return {name: _find(store, name) for name in request.arguments.batch}


def _find(store: Store, name: str) -> DeadLetter | None:
    """Return the dead letter of a batch with its messages, None for none. Raise UsageError."""
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


def _with_account(
    store: Store, configs: dict[str, AccountConfig], letter: DeadLetter
) -> DeadLetter | None:
    """Return the dead letter with an account that can answer it, None if there is none.

    A batch that vanished may have lost its account's id; its customers' ids lead to it.
    """
    if letter.account_id:
        return letter if letter.account_id in configs else None
    for account_id in configs:
        for message in letter.messages:
            if conversation_of(store, account_id, message.customer) == letter.conversation_id:
                return replace(letter, account_id=account_id)
    return None


def _repeats(letter: DeadLetter) -> list[str]:
    """Return the warning about a dead letter whose customer may get something twice."""
    if letter.parts_sent > len(letter.failed):
        left = letter.parts_sent - len(letter.failed)
        sent = f"{left} of {letter.parts} parts of its answer were sent"
        return [f"{letter.batch_id}: {sent}; a replay asks the model anew and sends all of it."]
    if letter.may_repeat:
        return [f"{letter.batch_id}: the customer may have its answer, and would get a second."]
    return []


def _row(letter: DeadLetter, now_ms: int) -> tuple[str, ...]:
    account, age = letter.account_id or "unknown", span(max(0, now_ms - letter.died_ms))
    first = (letter.batch_id, letter.reason, account, letter.conversation_id)
    return (*first, age, str(letter.size), letter.detail or "-")


def _document(letter: DeadLetter, now_ms: int) -> dict[str, Any]:
    """Return a dead letter for a program, without its messages."""
    header = as_json(
        replace(letter, messages=()),
        batch_id="batch",
        conversation_id="conversation",
        account_id="account",
        parts_sent="parts_left",
    )
    for name in ("messages", "reply", "delivered", "is_damaged"):
        del header[name]
    return header | {
        "age_ms": max(0, now_ms - letter.died_ms),
        "may_repeat": letter.may_repeat,
        "advice": advice(letter.reason),
        "means": str(meaning(code_of(letter.detail)) or ""),
    }
