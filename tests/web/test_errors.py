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


def test_unknown_address_is_refused_in_the_same_form(broken: falcon.testing.TestClient) -> None:
    result = broken.simulate_get("/79990000001?token=hidden")

    assert result.json == {"error": {"code": "not_found", "message": "address: not found"}}


def test_unknown_method_is_refused_in_the_same_form(broken: falcon.testing.TestClient) -> None:
    result = broken.simulate_post("/broken/79990000001")

    assert code(result) == (405, "method_not_allowed")
    assert result.json["error"]["message"] == "/broken/{name}: method not allowed"
