"""``dead list|show|replay|discard``: what was not answered, and a person's decision about it."""

from argparse import SUPPRESS, ArgumentParser
from dataclasses import asdict

from batching.dead import DeadLetter
from runtime.commands import deciding
from runtime.commands.letters import advice, find_one, listed
from runtime.commands.verb import EXIT_ACT, EXIT_OK, Request, open_store, write, write_json
from runtime.commands.words import moment, printable, span, table

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
        (replaying, deciding.replay),
        (discarding, deciding.discard),
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
    left = f", {letter.parts_left} of {letter.parts} parts had left" if letter.parts else ""
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
        "parts_left": letter.parts_left,
        "parts": int(letter.parts or 0),
        "died_ms": letter.died_ms,
        "age_ms": max(0, now_ms - letter.died_ms),
        "size": letter.size,
        "may_repeat": letter.may_repeat,
        "advice": advice(letter.reason),
    }
