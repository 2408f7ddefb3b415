"""Wait for what should happen, with a deadline that only a fault reaches."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

import httpx2

T = TypeVar("T")

#: Many times what a healthy system needs on a busy machine: reaching it means a fault.
DEADLINE_S = 120.0


def eventually(
    condition: Callable[[], T | None],
    *,
    what: str = "",
    deadline_s: float = DEADLINE_S,
    every_s: float = 0.02,
) -> T:
    """Return the first true value of ``condition``. Raise AssertionError at the deadline.

    ``what`` completes the sentence "waited for ..."; ``every_s``: the pause between two tries.
    """
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline_s} s for {what or condition}; got {value!r}")
        time.sleep(every_s)


@contextmanager
def in_background(call: Callable[[], T]) -> Iterator[Future[T]]:
    """Run ``call`` in a thread beside the body and wait for it at the end of the body."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


def answers(url: str, path: str = "/livez") -> bool:
    """Return whether a web process serves at ``url`` and says 200 at ``path``."""
    try:
        return httpx2.get(url + path, timeout=10, trust_env=False).status_code == HTTPStatus.OK
    except httpx2.TransportError:
        return False
