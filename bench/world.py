"""The installation that is measured: that of the end-to-end tests, with production's windows."""

from collections.abc import Iterator
from contextlib import contextmanager

from demo.valkey import find_server
from tests.processes import Guard
from tests.stack.accounts import BusinessNumber
from tests.stack.stack import WINDOWS, Stack
from tests.webhooks import SALON_NUMBER

#: The scripted model answers at once.
ACCOUNT = BusinessNumber("bench", SALON_NUMBER, model={"provider": "scripted"})
#: What is on in the tests and would be measured too.
_OFF = {*WINDOWS, "CANARY_URL", "SENTRY_DSN"}


@contextmanager
def installed(idle_ms: int) -> Iterator[Stack]:
    """Yield an installation of which the ledger alone runs; its file is synced each second."""
    guard = Guard()
    stack = Stack(find_server(), guard, numbers=[ACCOUNT])
    stack.environ = {name: value for name, value in stack.environ.items() if name not in _OFF}
    stack.environ["BATCH_IDLE_MS"] = str(idle_ms)
    try:
        stack.valkey.start()
        stack.ledger.client.config_set("appendfsync", "everysec")
        yield stack
    finally:
        stack.stop()
        guard.close()
