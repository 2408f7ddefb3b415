"""The simulator's page and what it reads."""

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
def production(runtime: Runtime) -> falcon.testing.TestClient:
    settings = runtime.settings.model_copy(update={"environment": "production"})
    return falcon.testing.TestClient(create_app(replace(runtime, settings=settings)))


def test_simulator_is_not_there_in_production(production: falcon.testing.TestClient) -> None:
    """Nor is its webhook, which asks for no secret."""
    paths = ("/simulator", "/simulator/accounts", "/simulator/assets/simulator.js", STATE)
    results = [production.simulate_get(path) for path in paths]

    assert [result.status_code for result in results] == [404] * 4
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
                "name": "Salon",
                "language": "en",
                "idle_ms": 9_000,
                "max_wait_ms": 45_000,
                "max_messages": 10,
                "overdue_ms": 120_000,
                "text_characters_max": 65_536,
            }
        ]
    }


def test_conversation_is_shown_as_it_is_collected_in_flight_and_answered(start: Start) -> None:
    """A message that the page sends twice is one."""
    runtime = start(BATCH_MAX_MESSAGES="2")
    http, workers = falcon.testing.TestClient(create_app(runtime)), Workers(runtime)
    caller = Caller(http)

    taken = [caller.raw(HOOK, message()).json for _ in range(2)]
    collected = http.simulate_get(STATE).json
    caller.raw(HOOK, message("sim-2", "How much is a haircut?"))
    workers.flush()
    flying = http.simulate_get(STATE).json
    workers.answer()
    answered = http.simulate_get(STATE).json

    assert taken == [counts(accepted=1), counts(duplicate=1)]
    assert collected["open"]["count"] == 1
    assert 0 < collected["open"]["due_ms"] - collected["now_ms"] <= 9_000
    assert collected["flight"] == {"count": 0, "stage": None, "waiting": False}
    (shown,) = collected["messages"]
    assert (shown["from"], shown["id"], shown["text"]) == ("customer", "sim-1", "Hi")
    assert flying["flight"] == {"count": 2, "stage": "generate", "waiting": False}
    assert answered["open"]["count"] == answered["flight"]["count"] == 0
    assert [one["from"] for one in answered["messages"]] == ["customer", "customer", "business"]
    assert answered["messages"][-1]["answers"] == ["sim-1", "sim-2"]


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("nobody/79990000001", (404, "unknown_account")),
        ("salon/79990000001", (404, "unknown_account")),
        ("demo/" + "7" * 129, (400, "customer")),
    ],
)
def test_state_of_no_simulator_account_or_an_absurd_customer_is_refused(
    http: falcon.testing.TestClient, path: str, refusal: tuple[int, str]
) -> None:
    assert code(http.simulate_get(f"/simulator/state/{path}")) == refusal
