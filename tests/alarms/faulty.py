"""The processes of an installation with bugs that sleep until the file ALARMS_BUG names one.

``dramatiq tests.alarms.faulty:worker``, ``gunicorn "tests.alarms.faulty:application()"``.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import falcon

import actors
from batching import flow
from llm.guard import Guarded
from runtime.build import build_or_exit
from web import create_app, webhooks


def worker() -> None:
    """Build a worker whose flushes and generations have a bug."""
    flow.flush = _buggy("flush", flow.flush)
    Guarded.answer = _buggy("generate", Guarded.answer)  # type: ignore[method-assign]
    actors.main()


def application() -> falcon.App[falcon.Request, falcon.Response]:
    """Return the application, whose webhooks have a bug."""
    runtime = build_or_exit("web")
    runtime.fleet.start()
    webhooks.receive = _buggy("webhook", webhooks.receive)  # type: ignore[attr-defined]
    return create_app(runtime)


def _buggy(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function``, which raises while the file holds its name."""
    switch = Path(os.environ["ALARMS_BUG"])

    def call(*args: Any, **named: Any) -> Any:
        if switch.exists() and switch.read_text() == name:
            raise ValueError(name)
        return function(*args, **named)

    return call
