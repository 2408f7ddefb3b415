"""Keeps a lease while a slow call runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from batching.errors import TransientError


@contextmanager
def keep_lease(extend: Callable[[], bool], lease_ms: int) -> Iterator[None]:
    """Call ``extend`` every third of ``lease_ms`` from another thread until the context ends.

    Stops early when ``extend`` returns False: the run belongs to somebody else, and the fenced
    write after the call will say so. When the context is left, no call is running or follows.
    """
    over = threading.Event()
    thread = threading.Thread(
        target=_renew, args=(extend, over, lease_ms / 3000), name="lease-keeper", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _renew(extend: Callable[[], bool], over: threading.Event, every_s: float) -> None:
    while not over.wait(every_s):
        try:
            if not extend():
                return
        except TransientError:
            continue  # The lease outlives one missed renewal; if it does not, the fence holds.
