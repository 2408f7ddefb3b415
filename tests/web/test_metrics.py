"""``/metrics``: what is in a scrape, in which form, and what moves it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import falcon.testing
import pytest
from prometheus_client.parser import text_string_to_metric_families

from batching.keys import CANARY
from batching.model import Reason
from runtime.build import Runtime, build
from tests.conftest import IN_CI
from tests.valkey_server import ValkeyServer
from tests.web.conftest import environ_of, write_accounts
from tests.webhooks import Caller, body, change, text_message
from web import create_app

HELLO = body(change(text_message()))
#: Labels and value of each sample, by its name.
Scrape = dict[str, dict[tuple[str, ...], float]]


def scrape(text: str) -> Scrape:
    found: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[*sample.labels.values(),] = sample.value
    return found


def scraped(runtime: Runtime, query: str = "") -> Scrape:
    """Return what a process answers that was not asked before."""
    return scrape(
        falcon.testing.TestClient(create_app(runtime))
        .simulate_get("/metrics", query_string=query)
        .text
    )


@pytest.fixture
def without_ledger(
    other_valkey: ValkeyServer, tmp_path: Path
) -> Iterator[falcon.testing.TestClient]:
    """Yield the application after its Redis went away."""
    other_valkey.start()
    runtime = build("web", environ_of(other_valkey, write_accounts(tmp_path)))
    other_valkey.kill()
    yield falcon.testing.TestClient(create_app(runtime))
    runtime.store.client.connection_pool.disconnect()


def test_prometheus_finds_nothing_to_say_of_the_form(http: falcon.testing.TestClient) -> None:
    """Help, types, names and base units, as Prometheus's own linter wants them."""
    promtool = shutil.which("promtool")
    if promtool is None and not IN_CI:
        pytest.skip("promtool is not installed: apt install prometheus")
    assert promtool, "promtool is missing: apt install prometheus"
    answer = http.simulate_get("/metrics")

    said = subprocess.run(
        [promtool, "check", "metrics"],
        input=answer.text,
        text=True,
        capture_output=True,
        check=False,
    )

    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (said.stdout, said.stderr, said.returncode) == ("", "", 0)


def test_everything_is_there_from_the_beginning(runtime: Runtime) -> None:
    """Else the first of its kind cannot be seen rising."""
    found = scraped(runtime)
    reasons = set(Reason) - {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER}

    assert found["ai_admin_dead_total"] == {(str(reason),): 0 for reason in reasons}
    assert found["ai_admin_ledger_up"] == {(): 1}
    for account in ("salon", "barber", "nails", "demo"):
        assert found["ai_admin_parts_sent_total"][account,] == 0
        assert found["ai_admin_end_to_end_seconds_count"][account,] == 0
        assert found["ai_admin_generation_seconds_count"][account, "model", "failed"] == 0
        assert found["ai_admin_circuit_open"][account, "channel"] == 0
    for code in ("cloud_131047", "venom_http_401"):
        assert found["ai_admin_call_failures_total"][code, "channel"] == 0
    for code in ("cloud_131056", "model_429", "model_stopped"):
        assert found["ai_admin_retries_total"][code,] == 0
    assert found["ai_admin_webhooks_total"]["whatsapp_cloud", "503"] == 0
    assert [name for name, values in found.items() for it in values.values() if it < 0] == []
    assert found.keys().isdisjoint({"ai_admin_canary_age_seconds", "ai_admin_flusher_lag_seconds"})


def test_names_of_the_release_before_are_there_for_who_asks(runtime: Runtime) -> None:
    runtime.store.client.hset(CANARY, items=["answered_ms", "1", "round_trip_ms", "612"])

    former, present = scraped(runtime, "former=yes"), scraped(runtime)

    assert former["ai_admin_canary_round_trip_ms"] == {(): 612}
    assert former["ai_admin_flusher_lag_ms"] == {(): -1}
    assert former["ai_admin_messages_answered_total"] == {("0",): 0}
    assert present["ai_admin_canary_round_trip_seconds"] == {(): 0.612}
    assert "ai_admin_canary_round_trip_ms" not in present


def test_scrape_during_an_outage_of_the_ledger_tells_what_the_process_knows(
    without_ledger: falcon.testing.TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Prometheus must not lose the target just when it matters, and no scrape is an error."""
    Caller(without_ledger).cloud(HELLO)
    caplog.clear()

    answer = without_ledger.simulate_get("/metrics")
    found = scrape(answer.text)

    assert answer.status_code == 200
    assert found["ai_admin_ledger_up"] == {(): 0}
    assert found["ai_admin_webhooks_total"]["whatsapp_cloud", "503"] == 1
    assert "ai_admin_messages_accepted_total" not in found
    assert [it.message for it in caplog.records if it.levelname in {"WARNING", "ERROR"}] == []
