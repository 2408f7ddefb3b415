"""``handovers list|resume|decline``: which customers wait for a person, and since when."""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from batching.identity import family
from batching.inspect import awaited
from batching.model import Awaited
from cli.common import (
    Request,
    actions_of,
    add_conversation,
    named_conversations,
    printable,
    table,
)
from runtime.meanings import meaning
from runtime.units import moment, span

_COLUMNS = ("conversation", "account", "reason", "urgency", "waits", "alerts", "customer told")
_NOBODY = "No customer waits for a person."
_TO_DO = (
    "Write to them from the phone of the business, which ends it; or handovers resume "
    "CONVERSATION: from then on they are answered again."
)


def arguments(parser: ArgumentParser) -> None:
    """Add the three actions and what each takes."""
    add = actions_of(parser)
    listing = add("list", "all of them, who waits longest first", _list)
    listing.add_argument("--content", action="store_true", help="show what the person should know")
    add_conversation(add("resume", "nobody is to write: we answer again", _resume))
    add_conversation(add("decline", "nobody will come, and the customer was told so", _decline))


def _list(request: Request) -> bool:
    """Print who waits; False if anybody does, because each waits for a person."""
    store, content = request.open_store(), request.arguments.content
    waiting, now_ms = awaited(store, content=content), store.now_ms()
    lines = [_NOBODY]
    if waiting:
        lines = table([_COLUMNS, *(_row(each, now_ms) for each in waiting)])
        reasons = {it.reason: meaning(f"handover_{it.reason}") for it in waiting}
        lines += ["", *(f"{name}: {says.says}" for name, says in reasons.items() if says), _TO_DO]
        for each in waiting if content else ():
            lines += ["", f"{each.conversation_id}:", *printable(each.summary).splitlines()]
    request.show({"handovers": [_document(each, content=content) for each in waiting]}, lines)
    return not waiting


def _resume(request: Request) -> bool:
    return _end(request, "resumed")


def _decline(request: Request) -> bool:
    return _end(request, "declined")


def _end(request: Request, how: str) -> bool:
    """Have nobody awaited under any id of the customer; False if nobody was."""
    store = request.open_store()
    named = [c for each in named_conversations(request, store) for c in family(store, each)]
    ended = [c for c in dict.fromkeys(named) if store.end_handover(c, how)]
    lines = [f"{c}: {how}; customers are answered from the next message on." for c in ended]
    request.show({how: ended}, lines or ["No person is awaited there."])
    return bool(ended)


def _row(each: Awaited, now_ms: int) -> tuple[str, ...]:
    told = f"{moment(int(each.apology))} UTC" if each.apology.isdecimal() else each.apology
    waits = span(max(0, now_ms - each.since_ms))
    first = (each.conversation_id, each.account_id or "unknown", each.reason, each.urgency, waits)
    return (*first, str(1 + each.reminders), told)


def _document(each: Awaited, *, content: bool) -> dict[str, Any]:
    """Return it for a program; the summary only where it was asked for."""
    known = asdict(each)
    if not content:
        del known["summary"]
    return known
