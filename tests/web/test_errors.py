import json
import logging

import falcon
import falcon.testing
import pytest

from runtime.logs import EventFormatter
from runtime.outages import Outages
from runtime.sentry import flush
from tests.fake_sentry import FakeSentry, oddities
from tests.web.conftest import Start
from tests.webhooks import code
from web import create_app, errors

SECRET = "79990000001 wrote: my secret wish"
TOKEN = "hidden"
PLACES = ("/broken", "/broken", "/too")


class Broken:
    """A resource with a fault of ours in it."""

    def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise KeyError(SECRET)


class BrokenToo:
    """Another, elsewhere."""

    def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise KeyError(SECRET)


@pytest.fixture
def broken() -> falcon.testing.TestClient:
    app = falcon.App()
    errors.install(app, Outages())
    app.add_route("/broken/{name}", Broken())
    app.add_route("/broken", Broken())
    return falcon.testing.TestClient(app)


def test_fault_of_ours_is_logged_by_class_and_place_alone(
    broken: falcon.testing.TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        result = broken.simulate_get("/broken?token=hidden")

    (record,) = caplog.records
    assert code(result) == (500, "internal_error")
    assert (record.message, record.__dict__["error"]) == ("request.failed", "KeyError")
    line = EventFormatter(role="web", release="r1").format(record)
    assert json.loads(line)["exception"] == "builtins.KeyError"
    assert "wish" not in result.text + line
    assert "hidden" not in line


def test_fault_of_ours_is_one_report_for_each_place_with_its_stack(
    start: Start, sentry: FakeSentry
) -> None:
    """Not by Falcon's error and by the log's line, and not all faults as one. Lines of source are
    sent, and no value.
    """
    app = create_app(start("web", SENTRY_DSN=sentry.dsn))
    app.add_route("/broken", Broken())
    app.add_route("/too", BrokenToo())
    http = falcon.testing.TestClient(app)

    for path in PLACES:
        http.simulate_get(path, headers={"Authorization": TOKEN})
    flush()

    one, two = sentry.events
    assert one["fingerprint"] != two["fingerprint"]
    for event in (one, two):
        assert oddities(event) == []
        assert event["tags"] == {"role": "web", "host": event["server_name"]}
        assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "on_get"
        assert event["logentry"]["message"] == "request.failed"
    assert SECRET not in sentry.text
    assert TOKEN not in sentry.text
    assert {item.kind for item in sentry.items} <= {"event", "client_report"}


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/79990000001?token=hidden", ("not_found", "address: not found")),
        (
            "POST",
            "/broken/79990000001",
            ("method_not_allowed", "/broken/{name}: method not allowed"),
        ),
    ],
)
def test_unknown_address_or_method_is_refused_without_repeating_it(
    broken: falcon.testing.TestClient, method: str, path: str, error: tuple[str, str]
) -> None:
    result = broken.simulate_request(method, path)

    assert result.json == {"error": dict(zip(("code", "message"), error, strict=True))}
