"""Guesses of secrets: how long each waits, and who is told."""

from concurrent.futures import ThreadPoolExecutor

import falcon.testing
import gevent  # type: ignore[import-untyped]
import gevent.event  # type: ignore[import-untyped]
import pytest

from batching.alerts import Alert, Alerts
from batching.store import Store
from runtime.build import Runtime
from runtime.clients import redis_client
from tests.fakes import FakeClock
from tests.web.conftest import Start
from tests.webhooks import CLOUD, VENOM, Caller
from web import create_app
from web.guesses import (
    ALERT_EVERY_MS,
    ALERTED_AT,
    DELAY_MS,
    DELAY_MS_MAX,
    FORGIVEN_EVERY_MS,
    FREE,
    WAITING_MAX,
    Guesses,
)

#: More than alert, since these tests' threads, which a server does not have, may lose a count.
MORE = ALERTED_AT + 20


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def guesses(store: Store, clock: FakeClock, waits: list[float]) -> Guesses:
    return Guesses(store, "a place", clock=clock, wait=waits.append)


def alerts(store: Store) -> list[Alert]:
    return [alert for alert in Alerts(store).take(100) if alert.kind == "secret_guessed"]


def test_guesses_wait_twice_as_long_each_up_to_a_limit(
    guesses: Guesses, waits: list[float]
) -> None:
    for n in range(1_000):
        # Known accounts and unknown ones are one: how long it takes must not tell them apart.
        guesses.wrong(("salon", "", "nails")[n % 3])

    assert waits[:4] == [DELAY_MS * n / 1000 for n in (1, 2, 4, 8)]
    assert waits[10:] == [DELAY_MS_MAX / 1000] * (1_000 - FREE - 10)


def test_mistake_now_and_then_waits_for_nothing(
    guesses: Guesses, clock: FakeClock, waits: list[float]
) -> None:
    for _ in range(1_000):
        guesses.wrong("")
        clock.advance_ms(FORGIVEN_EVERY_MS)

    assert waits == []


def test_guesses_are_forgiven_in_the_end(
    guesses: Guesses, clock: FakeClock, waits: list[float]
) -> None:
    for _ in range(1_000):
        guesses.wrong("")
    clock.advance_ms(100 * FORGIVEN_EVERY_MS)
    waits.clear()

    for _ in range(FREE):
        guesses.wrong("")

    assert waits == []


def test_room_is_left_for_others_than_guesses(store: Store, clock: FakeClock) -> None:
    ended = gevent.event.Event()
    guesses = Guesses(store, "a place", clock=clock, wait=lambda _: ended.wait())

    callers = [gevent.spawn(guesses.wrong, "") for _ in range(FREE + WAITING_MAX + 50)]
    gevent.idle()
    answered = sum(caller.ready() for caller in callers)
    ended.set()
    gevent.joinall(callers, raise_error=True)

    assert answered == FREE + 50


def test_many_guesses_alert_a_person_once_an_hour_and_account(
    guesses: Guesses, store: Store, clock: FakeClock
) -> None:
    for name in ("salon", "nails", ""):
        for _ in range(ALERTED_AT - 1):
            guesses.wrong(name)
    early = alerts(store)
    for _ in range(10 * ALERTED_AT):
        guesses.wrong("salon")
    (alert,) = alerts(store)
    clock.advance_ms(ALERT_EVERY_MS)
    guesses.wrong("salon")

    assert early == []
    assert (alert.account_id, alert.detail.split()[0]) == ("salon", str(ALERTED_AT))
    assert alerts(store) == []


def test_guesses_are_answered_without_a_ledger(clock: FakeClock, waits: list[float]) -> None:
    away = Store(redis_client("redis://127.0.0.1:1", "web"), privacy_key="k" * 32, shards=1)
    guesses = Guesses(away, "a place", clock=clock, wait=waits.append)

    for _ in range(2 * ALERTED_AT):
        guesses.wrong("salon")

    assert len(waits) == 2 * ALERTED_AT - FREE


@pytest.mark.parametrize(
    ("path", "header", "account"),
    [
        (VENOM, {"X-Webhook-Secret": "guess"}, "nails"),
        (VENOM, {"X-Timestamp": "1", "X-Signature": "0" * 64}, "nails"),
        ("/webhooks/venom/nobody", {"Authorization": "Bearer guess"}, ""),
        (CLOUD, {"X-Hub-Signature-256": "sha256=" + "0" * 64}, ""),
    ],
)
def test_wrong_secret_of_a_webhook_is_a_guess(
    caller: Caller, runtime: Runtime, path: str, header: dict[str, str], account: str
) -> None:
    with ThreadPoolExecutor(ALERTED_AT) as pool:
        answers = list(pool.map(lambda _: caller.raw(path, b"{}", header), range(MORE)))

    assert {answer.status_code for answer in answers} == {401}
    assert [alert.account_id for alert in alerts(runtime.store)] == [account]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", VENOM), ("POST", CLOUD), ("GET", CLOUD), ("POST", "/nowhere")]
)
def test_request_without_a_secret_is_no_guess(
    http: falcon.testing.TestClient, runtime: Runtime, method: str, path: str
) -> None:
    """The whole internet posts anything anywhere: that is for a count in the log."""
    for _ in range(2 * ALERTED_AT):
        http.simulate_request(method, path)

    assert alerts(runtime.store) == []


@pytest.mark.parametrize("path", ["/fleet", "/metrics", "/readyz"])
def test_wrong_token_of_an_operator_is_a_guess(start: Start, path: str) -> None:
    runtime = start("web", CONSOLE_TOKEN="5c1f0e9d8b7a69584c3b2a190f8e7d6c")
    http = falcon.testing.TestClient(create_app(runtime))
    header = {"Authorization": "Bearer guess"}

    with ThreadPoolExecutor(ALERTED_AT) as pool:
        answers = pool.map(lambda _: http.simulate_get(path, headers=header), range(MORE))
        statuses = {answer.status_code for answer in answers}

    assert statuses == {503 if path == "/readyz" else 401}
    assert len(alerts(runtime.store)) == 1
