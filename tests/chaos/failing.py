"""Builds a process as production does and puts failpoints around what it talks to.

``gunicorn "tests.chaos.failing:application()"``, ``dramatiq tests.chaos.failing:worker``,
``python -m tests.chaos.failing`` for a scheduler.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import redis
from redis.client import Pipeline

from batching import alerts
from batching.errors import LedgerUnavailableError, TransientError
from batching.model import CANARY_ACCOUNT, Exchange
from batching.ports import Account, Model
from batching.store import SCRIPTS
from runtime import build
from runtime.accounts import AccountConfig
from runtime.build import Runtime
from runtime.clients import Role
from tests.chaos.failpoints import Failpoints, Point

#: The environment's name for the directory of the failpoints.
DIRECTORY = "FAILPOINTS"

#: When an alert that was taken and not acknowledged is given out again, ms: tests wait for it.
REDELIVER_MS = 2_000

#: Where a request to the ledger is lost: it was not carried out.
BEFORE: dict[tuple[Role, str], Point] = {
    ("web", "append"): Point.WEB_BEFORE_APPEND,
    ("worker", "resolve_part"): Point.SEND_AFTER_RESPONSE,
}
#: Where the ledger's answer is lost: it was carried out.
AFTER: dict[tuple[Role, str], Point] = {
    ("web", "append"): Point.WEB_AFTER_APPEND,
    ("worker", "collect"): Point.FLUSH_AFTER_COLLECT_BEFORE_ENQUEUE,
    ("worker", "begin"): Point.GENERATE_AFTER_BEGIN,
    ("worker", "checkpoint"): Point.GENERATE_AFTER_CHECKPOINT,
    ("worker", "mark_sending"): Point.SEND_AFTER_MARK_SENDING,
    ("worker", "resolve_part"): Point.SEND_AFTER_MARK_SENT,
    ("worker", "dead_letter"): Point.DROP_AFTER_DEAD_LETTER_BEFORE_ALERT,
}


def application() -> object:
    """Return the application of a web process that fails where a test armed a point."""
    fail_where_armed()
    return import_module("wsgi").application


def worker() -> None:
    """Build a worker process that fails where a test armed a point."""
    fail_where_armed()
    import_module("actors").main()


def fail_where_armed() -> None:
    """Have every runtime that this process builds from now on fail where a test armed a point."""
    failpoints = Failpoints(Path(os.environ[DIRECTORY]))
    production = build.build

    def built(role: Role, environ: Mapping[str, str] | None = None, **registry: Any) -> Runtime:
        runtime = production(role, environ, **registry)
        runtime.store.client = FailingRedis(runtime.store.client, role, failpoints)
        make = runtime.accounts._build
        runtime.accounts._build = lambda config: _failing(make, config, failpoints)
        return runtime

    build.build = built
    _fail_between_post_and_ack(failpoints)


def _fail_between_post_and_ack(failpoints: Failpoints) -> None:
    """Reach the point when Sentry has an alert, and the ledger does not know yet."""
    notifier: Any = import_module("runtime.notifier")
    alerts.REDELIVER_MS = REDELIVER_MS
    deliver = notifier.deliver

    def delivered(events: Iterable[Any]) -> Any:
        delivered_ids = deliver(events)
        failpoints.reach(Point.ALERT_AFTER_POST_BEFORE_ACK, LedgerUnavailableError("lost"))
        return delivered_ids

    notifier.deliver = delivered


class FailingRedis(redis.Redis):
    """Runs scripts as their client does, and reaches the points before and after them."""

    def __init__(self, client: redis.Redis, role: Role, failpoints: Failpoints) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._role = role
        self._failpoints = failpoints
        self._verbs = {script.digest: verb for verb, script in SCRIPTS.items()}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self.before(args)
        answer = super().execute_command(*args, **options)
        self.after(args, answer)
        return answer

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> "FailingPipeline":  # noqa: FBT001, FBT002
        pipeline = FailingPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.points = self
        return pipeline

    def before(self, command: tuple[Any, ...]) -> None:
        """Reach the point before a command, if there is one."""
        point = BEFORE.get((self._role, self._verb(command)))
        if point:
            self._failpoints.reach(point, redis.TimeoutError("lost"))

    def after(self, command: tuple[Any, ...], answer: Any) -> None:
        """Reach the point after a command that moved a batch, if there is one."""
        verb = self._verb(command)
        point = AFTER.get((self._role, verb))
        # A send begins too, but its point is that its part is marked as leaving.
        moved = bool(answer and answer[0] if isinstance(answer, list) else answer)
        if point and moved and not (verb == "begin" and "send" in command):
            self._failpoints.reach(point, redis.TimeoutError("lost"))

    def _verb(self, command: tuple[Any, ...]) -> str:
        return self._verbs.get(command[1], "") if command[0] == "EVALSHA" else ""


class FailingPipeline(Pipeline):
    """Carries several commands at once, and reaches the points of each."""

    points: FailingRedis

    def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002
        commands = [command for command, _ in self.command_stack]
        for command in commands:
            self.points.before(command)
        answers: list[Any] = super().execute(raise_on_error=raise_on_error)
        for command, answer in zip(commands, answers, strict=True):
            self.points.after(command, answer)
        return answers


def _failing(
    make: Callable[[AccountConfig], Account], config: AccountConfig, failpoints: Failpoints
) -> Account:
    account = make(config)
    if config.account_id == CANARY_ACCOUNT:
        return account
    # The channel's client is that of all accounts.
    client: httpx2.Client = account.channel._http  # type: ignore[attr-defined]
    if not isinstance(client._transport, FailingTransport):
        client._transport = FailingTransport(client._transport, failpoints)
    return replace(account, model=FailingModel(account.model, failpoints))


class FailingModel:
    """Answers as the model does, and reaches the point after it."""

    def __init__(self, model: Model, failpoints: Failpoints) -> None:
        self._model = model
        self._failpoints = failpoints

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        answer = self._model.answer(history, turn, now_ms=now_ms)
        self._failpoints.reach(Point.GENERATE_AFTER_MODEL, TransientError("model_broken"))
        return answer


class FailingTransport(httpx2.BaseTransport):
    """Carries requests, and reaches a point when a text is written and its answer not read."""

    def __init__(self, transport: httpx2.BaseTransport, failpoints: Failpoints) -> None:
        self._transport = transport
        self._failpoints = failpoints

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/messages"):
            traced = request.extensions["trace"]

            def trace(event: str, info: dict[str, Any]) -> None:
                traced(event, info)
                if event.endswith("send_request_body.complete"):
                    lost = httpx2.ReadError("lost", request=request)
                    self._failpoints.reach(Point.SEND_AFTER_WRITE, lost)

            request.extensions["trace"] = trace
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()


if __name__ == "__main__":
    fail_where_armed()
    import_module("scheduler.__main__").main()
