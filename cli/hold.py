"""``hold``: after a restore, before any process starts, give what waits to a person."""

from argparse import ArgumentParser
from dataclasses import asdict

from batching.hold import hold
from cli.common import Request, UsageError, confirmed
from runtime.fleet import members

#: A burst may still have to end, and a lease to run out, s.
WAIT_S = 120

WARNING = (
    "Every batch that waits becomes a dead letter, to be replayed or discarded one by one. "
    "This is for a ledger that was restored from a copy."
)


def arguments(parser: ArgumentParser) -> None:
    """Add --yes."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(request: Request) -> bool:
    """Hold what waits; False if something still does, or the operator declined."""
    store = request.open_store()
    alive = [member.name for member in members(store.client) if member.is_alive]
    if alive:
        raise UsageError(f"stop all processes first, alive are: {', '.join(alive)}")
    if not confirmed([WARNING], "Go on?", yes=request.arguments.yes):
        return False
    held = hold(store, wait_s=WAIT_S)
    lines = [f"Batches held: {held.batches}. See dead list --reason restored."]
    if held.messages:
        lines.append(f"Messages that still wait: {held.messages}. Run this again.")
    request.show(asdict(held), lines)
    return not held.messages
