"""The endpoints in process, on a real ledger: most of the inputs."""

import dataclasses
import json
import logging

import falcon.testing
import pytest

from batching.model import CANARY_ACCOUNT
from runtime.build import Runtime
from runtime.logs import EventFormatter
from tests.fuzz.bodies import NAME
from tests.fuzz.conftest import Fuzz
from tests.fuzz.deliveries import SHARES, Delivery, deliveries
from tests.fuzz.judge import PRIVATE, Answer, Judge
from web import create_app

#: So few that a stretched body meets the limit.
WAITING_MAX = 5


class Lines(logging.Handler):
    """Keeps the lines of one input, as the process would write them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(EventFormatter(role="web", release="r-test"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        self.lines.append(self.format(record))

    def check(self) -> None:
        """Check that no line repeats the input or reports a fault of ours."""
        text = "\n".join(self.lines)
        assert [word for word in (*PRIVATE, "request.failed") if word in text] == [], text
        named = {json.loads(line)["event"] for line in self.lines if NAME in line}
        assert named <= {"webhook.not_understood"}


class InProcess:
    """Hands deliveries to the application as gunicorn would, odd headers and all."""

    def __init__(self, runtime: Runtime) -> None:
        self._app = create_app(runtime)

    def __call__(self, delivery: Delivery) -> Answer:
        """Return the answer to one delivery."""
        headers = dict(delivery.headers)
        stated = headers.pop("Content-Length", str(len(delivery.raw)))
        environ = falcon.testing.create_environ(
            path=delivery.path,
            query_string=delivery.query,
            method=delivery.method,
            headers=headers,
            body=delivery.raw,
        )
        environ["CONTENT_LENGTH"] = "" if delivery.chunked else stated
        environ["wsgi.input_terminated"] = delivery.chunked
        started = falcon.testing.StartResponseMock()
        content = b"".join(self._app(environ, started))
        headers_sent = {name.lower(): value for name, value in started.headers or ()}
        return Answer(int(str(started.status)[:3]), headers_sent, content)


@pytest.mark.slow
@pytest.mark.parametrize("endpoint", sorted(SHARES))
def test_no_request_whatever_breaks_the_promise(
    endpoint: str, runtime: Runtime, fuzz: Fuzz, root: logging.Logger
) -> None:
    runtime.store.timing = dataclasses.replace(runtime.store.timing, waiting_max=WAITING_MAX)
    canary = runtime.accounts.config(CANARY_ACCOUNT)
    assert canary is not None
    judge = Judge(runtime.store, InProcess(runtime))

    # Away from other handlers: the lines are millions.
    lines = Lines()
    root.handlers[:] = [lines]

    def check(delivery: Delivery) -> None:
        lines.lines.clear()
        judge.judge(delivery)
        lines.check()

    mix = deliveries(endpoint, canary.webhook_secrets[0])
    done = fuzz.run(mix, check, share=SHARES[endpoint])

    assert {200, 400} <= set(judge.tally) or endpoint == "challenge"
    fuzz.report(f"{endpoint}, in process", done, judge.tally)
