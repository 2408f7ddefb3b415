"""The way of a canary within this process: a web server, and what scheduler and workers do."""

import threading
import wsgiref.simple_server
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batching import flow
from runtime.build import Runtime
from tests.fakes import FakeQueue
from tests.web.workers import Workers
from web import create_app

#: Pause of the background worker, s.
PAUSE_S = 0.01


def collect(runtime: Runtime, queue: FakeQueue) -> None:
    """End the debounce window, and flush."""
    client: Any = runtime.store.client
    due = runtime.store.keyring.canary.due
    client.zadd(due, dict.fromkeys(client.zrange(due, 0, -1), 0), xx=True)
    flow.flush(runtime.store, queue)


def answer(runtime: Runtime) -> None:
    """Do the work of scheduler and workers to its end."""
    workers = Workers(runtime)
    collect(runtime, workers.queue)
    workers.answer()


@contextmanager
def working(runtime: Runtime) -> Iterator[None]:
    """Do the work of scheduler and workers in the background."""
    over, workers = threading.Event(), Workers(runtime)

    def work_on() -> None:
        while not over.wait(PAUSE_S):
            workers.flush()
            workers.answer()

    thread = threading.Thread(target=work_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def served(runtime: Runtime) -> Iterator[str]:
    """Serve the application in the background; return its address."""
    server = wsgiref.simple_server.make_server(
        "127.0.0.1", 0, create_app(runtime), handler_class=_Quiet
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": PAUSE_S})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
