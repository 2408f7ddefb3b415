"""A worker and a web server with a bug in each, to see what its report and log say of a customer.

``dramatiq tests.e2e.faulty:worker``, ``gunicorn "tests.e2e.faulty:application()"``.
"""

from collections.abc import Sequence

import falcon

import actors
from batching.model import Answer, Exchange
from llm.guard import Guarded
from runtime.build import build_or_exit
from web import create_app

#: A customer who writes this meets the worker's fault.
CRASH = "crash, please"

_answer = Guarded.answer


def worker() -> None:
    """Build a worker that fails with the customer's words in the exception and its variables."""
    Guarded.answer = _crashing  # type: ignore[method-assign]
    actors.main()


def application() -> falcon.App[falcon.Request, falcon.Response]:
    """Return the application with a further address that fails with what it was sent."""
    runtime = build_or_exit("web")
    runtime.fleet.start()
    app = create_app(runtime)
    app.add_route("/broken", _Broken())
    return app


class _Broken:
    def on_post(self, req: falcon.Request, _resp: falcon.Response) -> None:
        body = req.bounded_stream.read().decode()
        raise KeyError(body)


def _crashing(self: Guarded, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
    if CRASH not in turn:
        return _answer(self, history, turn, now_ms=now_ms)
    customers_words = {"text": turn}
    raise ValueError(f"cannot answer {customers_words}") from KeyError(turn)
