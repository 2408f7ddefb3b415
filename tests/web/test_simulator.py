import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import falcon.testing
import pytest

from runtime.build import Runtime
from tests.web.conftest import Start
from tests.web.workers import Workers
from tests.webhooks import Caller, code, counts
from web import create_app, simulator

HOOK = "/webhooks/simulator/demo"
STATE = "/simulator/state/demo/79990000001"
STATIC = Path(simulator.__file__).parent / "static"


def message(message_id: str = "sim-1", text: str = "Hi") -> bytes:
    return json.dumps({"customer": "79990000001", "message_id": message_id, "text": text}).encode()


@pytest.fixture
def pair(start: Start) -> Runtime:
    """Return a runtime whose batches are full, and so due, with two messages."""
    return start(BATCH_MAX_MESSAGES="2")


@pytest.fixture
def production(runtime: Runtime) -> falcon.testing.TestClient:
    settings = runtime.settings.model_copy(update={"environment": "production"})
    return falcon.testing.TestClient(create_app(replace(runtime, settings=settings)))


@pytest.mark.parametrize(
    "path", ["/simulator", "/simulator/accounts", "/simulator/assets/simulator.js", STATE]
)
def test_simulator_is_not_there_in_production(
    production: falcon.testing.TestClient, path: str
) -> None:
    assert production.simulate_get(path).status_code == 404


def test_webhook_without_a_secret_is_not_there_in_production(
    production: falcon.testing.TestClient,
) -> None:
    assert Caller(production).raw(HOOK, message()).status_code == 404


def test_batch_is_held_to_the_limits_of_its_account(
    start: Start, environ: Mapping[str, str]
) -> None:
    """The last account of the file has a shorter quiet period than the settings."""
    accounts = Path(environ["ACCOUNTS_FILE"])
    accounts.write_text(accounts.read_text() + "[account.batch]\nidle_ms = 4000\n")
    http = falcon.testing.TestClient(create_app(start(BATCH_IDLE_MS="8000")))

    Caller(http).raw(HOOK, message())

    state = http.simulate_get(STATE).json
    assert state["open"]["due_ms"] <= state["now_ms"] + 4_000


def test_page_loads_nothing_from_elsewhere(http: falcon.testing.TestClient) -> None:
    page = http.simulate_get("/simulator")

    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for path in re.findall(r'(?:src|href)="(/[^"]*)"', page.text):
        assert http.simulate_get(path).status_code == 200


def test_page_puts_no_text_into_markup() -> None:
    scripts = "".join(path.read_text() for path in STATIC.glob("*.js"))

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", scripts)


@pytest.mark.parametrize("name", ["simulator.html", "..%2Fsimulator.py", "%2e%2e", "other.js"])
def test_no_other_file_is_served(http: falcon.testing.TestClient, name: str) -> None:
    assert http.simulate_get(f"/simulator/assets/{name}").status_code == 404


def test_page_is_told_the_accounts_it_may_write_to(http: falcon.testing.TestClient) -> None:
    accounts = http.simulate_get("/simulator/accounts").json

    assert accounts == {
        "accounts": [
            {
                "id": "demo",
                "language": "en",
                "idle_ms": 9_000,
                "max_wait_ms": 45_000,
                "max_messages": 10,
            }
        ]
    }


def test_message_of_the_page_is_collected(http: falcon.testing.TestClient, caller: Caller) -> None:
    taken = caller.raw(HOOK, message())

    state = http.simulate_get(STATE).json

    assert taken.json == counts(accepted=1)
    assert state["open"]["count"] == 1
    assert 0 < state["open"]["due_ms"] - state["now_ms"] <= 9_000
    assert state["flight"] == {"count": 0, "stage": None, "waiting": False}
    (shown,) = state["messages"]
    assert (shown["from"], shown["id"], shown["text"]) == ("customer", "sim-1", "Hi")


def test_message_sent_twice_is_shown_once(http: falcon.testing.TestClient, caller: Caller) -> None:
    caller.raw(HOOK, message())

    again = caller.raw(HOOK, message())

    assert again.json == counts(duplicate=1)
    assert len(http.simulate_get(STATE).json["messages"]) == 1


def test_answer_names_the_messages_it_covers(pair: Runtime) -> None:
    http = falcon.testing.TestClient(create_app(pair))
    for message_id, text in (("sim-1", "Hi"), ("sim-2", "How much is a haircut?")):
        Caller(http).raw(HOOK, message(message_id, text))

    workers = Workers(pair)
    workers.flush()
    workers.answer()

    state = http.simulate_get(STATE).json
    assert state["open"]["count"] == state["flight"]["count"] == 0
    assert [shown["from"] for shown in state["messages"]] == ["customer", "customer", "business"]
    assert state["messages"][-1]["answers"] == ["sim-1", "sim-2"]


def test_batch_in_flight_is_shown_at_its_stage(pair: Runtime) -> None:
    http = falcon.testing.TestClient(create_app(pair))
    for message_id in ("sim-1", "sim-2"):
        Caller(http).raw(HOOK, message(message_id))

    Workers(pair).flush()

    state = http.simulate_get(STATE).json
    assert state["flight"] == {"count": 2, "stage": "generate", "waiting": False}


@pytest.mark.parametrize("account", ["nobody", "salon", "nails"])
def test_account_that_is_no_simulator_account_is_not_found(
    http: falcon.testing.TestClient, caller: Caller, account: str
) -> None:
    state = http.simulate_get(f"/simulator/state/{account}/79990000001")
    hook = caller.raw(f"/webhooks/simulator/{account}", message())

    assert code(state) == code(hook) == (404, "unknown_account")


def test_customer_of_absurd_length_is_refused(http: falcon.testing.TestClient) -> None:
    result = http.simulate_get("/simulator/state/demo/" + "7" * 129)

    assert code(result) == (400, "customer")


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"customer":7}', b'{"customer":"7","text":null}'])
def test_message_of_another_form_is_malformed(caller: Caller, raw: bytes) -> None:
    result = caller.raw(HOOK, raw)

    assert result.status_code == 400 or result.json["malformed"] == 1
