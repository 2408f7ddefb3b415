import logging

import falcon
import falcon.testing
import pytest

from tests.webhooks import code
from web import errors


class Broken:
    """A resource with a fault of ours in it."""

    def on_get(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        raise KeyError("79990000001 wrote: my secret wish")


@pytest.fixture
def broken() -> falcon.testing.TestClient:
    app = falcon.App()
    errors.install(app)
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
    assert record.exc_info is None
    assert "wish" not in result.text + str(record.__dict__)
    assert "hidden" not in str(record.__dict__)


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
