"""The form of what Sentry gets: words that a person can act on, grouped by cause."""

import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis
import sentry_sdk

from batching.errors import LedgerUnavailableError
from batching.store import Store
from runtime.logs import start_logging
from runtime.sentry import flush, start_reporting
from runtime.settings import load_settings
from scheduler.timer import Timer
from tests.alerts import notifier
from tests.fake_sentry import FakeSentry, oddities

ANNA = "c_0123456789abcdef01234567"
WORDS, PHONE = "my words as a customer", "79990000001"
DOCS, CONSOLE = "https://docs.example/v1", "https://console.example/chats"
log = logging.getLogger("tests.events")


def start(sentry: FakeSentry, role: str = "scheduler") -> None:
    settings = {"SENTRY_DSN": sentry.dsn, "RELEASE": "r1", "DOCS_URL": f"{DOCS}/"}
    start_reporting(load_settings(settings), role)


@pytest.fixture
def told(store: Store, sentry: FakeSentry) -> Callable[..., dict[str, Any]]:
    """Return what raises an alert, and returns its event as Sentry got it."""
    start(sentry)
    notify = notifier(store, sentry=True, DOCS_URL=DOCS, CONSOLE_URL=CONSOLE)

    def tell(kind: str, **fields: str) -> dict[str, Any]:
        entry = {"kind": kind, "account": "salon", "batch": "b0"} | fields
        store.client.xadd(store.keyring.all_shards[0].alerts, entry)  # type: ignore[arg-type]
        notify()
        event = sentry.events[-1]
        assert oddities(event) == []
        return event

    return tell


def text(event: dict[str, Any]) -> list[str]:
    """Return title, what to do and links."""
    return str(event["logentry"]["formatted"]).splitlines()


@pytest.mark.parametrize(
    ("fields", "title", "section"),
    [
        (
            {"kind": "model_stopped", "detail": "model_auth"},
            "Customers of salon are not answered by its model: the model's key is refused",
            "the-models-key-is-refused",
        ),
        (
            {"kind": "fatal_provider", "detail": "cloud_131047; apology sent"},
            "A customer of salon is not answered: the customer last wrote more than 24 hours ago",
            "the-provider-refuses",
        ),
        (
            {"kind": "channel_lost", "detail": "venom_notlogged: the phone is off: charge it"},
            "Customers of salon are not answered: the phone is off",
            "the-phone-of-the-business-is-logged-out",
        ),
        (
            {"kind": "channel_stopped", "detail": "venom_http_401"},
            "Customers of salon are not answered: the provider does not accept our token",
            "the-phone-of-the-business-is-logged-out",
        ),
        (
            {"kind": "poison", "detail": "KeyError"},
            (
                "A customer of salon is not answered: our code failed on the messages, or the "
                "workers died, at every attempt (KeyError)"
            ),
            "dead-letters-wait",
        ),
        (
            {"kind": "memory", "detail": "memory: 85 % in use: give it more", "account": ""},
            "Redis is nearly full: once it is full every webhook is refused",
            "the-disk-or-the-memory-is-full",
        ),
        (
            {"kind": "of_tomorrow", "detail": "{account!r} {0}"},
            "An alert about salon: this release does not know it",
            "",
        ),
    ],
)
def test_alert_says_whose_customers_and_why_what_to_do_and_where_to_read_on(
    told: Callable[..., dict[str, Any]], fields: dict[str, str], title: str, section: str
) -> None:
    event = told(**fields, conversation=ANNA)

    assert text(event)[0] == title
    assert text(event)[1].endswith(".")
    anchor = f"#{section}" if section else ""
    assert text(event)[2:] == [f"{DOCS}/runbook.md{anchor}", f"{CONSOLE}?conversation={ANNA}"]


def test_event_of_an_alert_bears_its_own_time_and_the_digest_of_the_customer(
    told: Callable[..., dict[str, Any]],
) -> None:
    sentry_sdk.add_breadcrumb(message="what the scheduler did meanwhile")
    event = told("fatal_model", detail="model_filtered", conversation=ANNA, at_ms="1768478400500")

    assert event["timestamp"] == "2026-01-15T12:00:00.500000Z"
    assert event["user"] == {"id": ANNA}
    assert event["breadcrumbs"]["values"] == []
    assert (event["level"], event["release"]) == ("error", "r1")
    assert {name: event["tags"][name] for name in ("role", "host")} == {
        "role": "scheduler",
        "host": event["server_name"],
    }
    del event["tags"]["role"], event["tags"]["host"]
    assert event["tags"] == {
        "account": "salon",
        "kind": "fatal_model",
        "reason": "fatal_model",
        "code": "model_filtered",
        "conversation": ANNA,
        "batch": "b0",
    }


def test_one_cause_over_accounts_is_one_issue_and_two_causes_are_two(
    told: Callable[..., dict[str, Any]],
) -> None:
    def issue(**fields: str) -> list[str]:
        found: list[str] = told("fatal_provider", **fields)["fingerprint"]
        return found

    salon = issue(detail="cloud_131047")

    assert issue(detail="cloud_131047", account="barber", conversation=ANNA) == salon
    assert issue(detail="cloud_131047; apology sent") == salon
    assert issue(detail="cloud_131026") != salon


def test_trail_of_the_batch_leads_to_its_event(
    told: Callable[..., dict[str, Any]], store: Store
) -> None:
    """With the age of an overdue batch, its stage, and the failure that keeps it."""
    shard = store.shard_of(ANNA)
    steps = (
        "1768478400000 finish b6 ",
        "1768478409000 collect b7 idle 1768478400000 salon",
        "1768478410000 begin b7 generate 1",
        "1768478470000 fail b7 outage model_timeout",
        "1768478520000 overdue b7 1768478400000 generate",
    )
    store.client.rpush(shard.trail(ANNA), *steps)

    event = told("overdue", conversation=ANNA, batch="b7", at_ms="1768478520000")

    assert text(event)[0] == (
        "A customer of salon waits for an answer for 2 min: the model does not answer in time"
    )
    assert (event["tags"]["stage"], event["tags"]["code"]) == ("generate", "model_timeout")
    assert event["contexts"]["alert"]["waited_ms"] == 120_000
    assert [(it["category"], it["message"]) for it in event["breadcrumbs"]["values"]] == [
        ("collect", "collected, because the customer was quiet (idle)"),
        ("begin", "attempt 1 to generate began"),
        ("fail", "failed, to be tried again: model_timeout"),
        ("overdue", "overdue: a person was alerted"),
    ]


def test_alert_goes_out_where_its_batch_cannot_be_read(
    told: Callable[..., dict[str, Any]], store: Store, client: redis.Redis
) -> None:
    client.set(store.shard_of(ANNA).trail(ANNA), "of another type")

    assert text(told("poison", conversation=ANNA))[0].startswith("A customer of salon")


@pytest.mark.parametrize("kind", ["poison", "channel_lost", "overdue", "of_tomorrow"])
def test_no_part_of_an_alert_shows_a_number(
    told: Callable[..., dict[str, Any]], sentry: FakeSentry, store: Store, kind: str
) -> None:
    """Wherever somebody's code may have put one: the detail, the kind, the steps of the batch."""
    store.client.rpush(
        store.shard_of(ANNA).trail(ANNA),
        f"1768478409000 fail b0 outage {PHONE}",
        f"1768478409000 fail b0 outage code:+{PHONE}",
    )

    told(kind, detail=f"cloud_1: +{PHONE} wrote: call {PHONE}", conversation=ANNA)
    told(f"{kind} {PHONE}", detail=PHONE, conversation=f"whatsapp:{PHONE}")

    assert PHONE not in sentry.text


# -- Log lines and exceptions


@pytest.fixture
def reported(sentry: FakeSentry) -> Callable[[], list[dict[str, Any]]]:
    """Return what returns the events that came; no word of a customer may be in them."""
    start(sentry, "web")

    def events() -> list[dict[str, Any]]:
        flush()
        assert WORDS not in sentry.text
        assert PHONE not in sentry.text
        assert [odd for event in sentry.events for odd in oddities(event)] == []
        return sentry.events

    return events


def test_error_of_the_log_says_what_to_do_too(
    reported: Callable[[], list[dict[str, Any]]],
) -> None:
    for code in ("ledger_away", "ledger_refused"):
        log.error("outage.began", extra={"code": code})
    log.error("account.unknown", extra={"account": "salon", "conversation": ANNA, "batch": "b1"})
    log.error("of a library: %s", PHONE)

    first, second, third, fourth = reported()
    assert text(first) == [
        "Calls to what we depend on have failed for seconds: Redis does not answer",
        "Start Redis, or see to the network; messages stay with their providers meanwhile.",
        f"{DOCS}/runbook.md#webhooks-are-answered-503",
    ]
    assert first["logentry"]["message"] == "outage.began"
    assert (first["tags"]["role"], first["tags"]["code"]) == ("web", "ledger_away")
    assert first["fingerprint"] != second["fingerprint"]
    assert text(third)[0] == ("salon: messages wait for an account that a worker does not know")
    assert third["user"] == {"id": ANNA}
    assert text(fourth) == ["of a library: %s"]


def test_same_fact_from_every_process_and_from_the_ledger_is_one_issue(
    told: Callable[..., dict[str, Any]], sentry: FakeSentry
) -> None:
    alert = told("ledger_replaced", detail="another ledger is in the place of ours")
    log.error("ledger.replaced", extra={"ours": "a", "found": "b"})
    flush()

    assert sentry.events[-1]["fingerprint"] == alert["fingerprint"]


@pytest.mark.parametrize("event", ["budget.spent", "webhook.malformed", "webhook.oversized"])
def test_what_an_alert_tells_is_not_told_by_the_log_too(
    reported: Callable[[], list[dict[str, Any]]], event: str
) -> None:
    log.error(event, extra={"code": "budget_account"})

    assert reported() == []


def fails_in_two_places(*, early: bool) -> None:
    words = WORDS + PHONE
    if early:
        raise ValueError(words)
    raise ValueError(words)  # The second place.


def caught(act: Callable[[], object], name: str = "doorbell.failed") -> None:
    try:
        act()
    except Exception:
        log.exception(name, extra={"conversation": ANNA})


def test_one_place_in_the_code_is_one_issue(
    reported: Callable[[], list[dict[str, Any]]],
) -> None:
    """Whoever calls it, and whatever was logged; another line of the same function is another."""
    caught(lambda: fails_in_two_places(early=True))
    caught(lambda: fails_in_two_places(early=True), "batch.crashed")
    caught(lambda: fails_in_two_places(early=False))
    caught(lambda: json.loads(WORDS))

    issues = [event["fingerprint"] for event in reported()]
    assert issues[0] == issues[1]
    assert len({tuple(issue) for issue in issues}) == 3
    (error,) = reported()[0]["exception"]["values"]
    assert error["value"].startswith("doorbell.failed in fails_in_two_places (")
    assert all("vars" not in frame for frame in error["stacktrace"]["frames"])


def test_exception_of_a_thread_or_a_job_has_a_stack_and_a_place(
    reported: Callable[[], list[dict[str, Any]]],
    root: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is reported once, by the log's line."""
    for module in (sys, threading):
        monkeypatch.setattr(module, "excepthook", module.excepthook)
    start_logging(role="scheduler", release="r1", level="INFO")
    ran = threading.Event()

    def job() -> None:
        ran.set()
        raise KeyError(WORDS)

    thread = threading.Thread(target=lambda: fails_in_two_places(early=True))
    thread.start()
    thread.join()
    timer = Timer()
    timer.every(5, job)
    timer.start()
    ran.wait(timeout=10)
    timer.stop()

    of_thread, of_job, *others = reported()
    assert {tuple(event["fingerprint"]) for event in others} <= {tuple(of_job["fingerprint"])}
    assert text(of_thread)[0].startswith("Nobody caught an exception of our own code")
    assert of_thread["fingerprint"][2] == "fails_in_two_places"
    assert of_job["fingerprint"][2].endswith(".job")
    assert text(of_job)[0] == "Our own code failed in the scheduler"
    assert root.handlers


def test_cause_of_an_exception_stays_with_it(
    reported: Callable[[], list[dict[str, Any]]],
) -> None:
    def act() -> None:
        try:
            fails_in_two_places(early=True)
        except ValueError as error:
            raise LedgerUnavailableError("ledger_away", WORDS) from error

    caught(act)

    (event,) = reported()
    cause, error = event["exception"]["values"]
    assert (cause["type"], cause["value"]) == ("ValueError", "")
    assert (error["type"], error["value"]) == ("LedgerUnavailableError", "ledger_away")
