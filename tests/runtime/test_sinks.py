"""People are told where they are: a real mail server and a real receiver on the loopback."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pytest

from batching import alerts as streams
from batching.alerts import Alerts
from batching.errors import ConfigurationError
from batching.model import Dependency
from batching.reminders import Reminders
from batching.store import Store
from config.hours import hours_of
from runtime import sinks
from runtime.logs import start_logging
from runtime.sentry import flush, start_reporting
from runtime.settings import load_settings
from runtime.sinks import Message, addresses_of
from tests.alerts import notified, notifier, raise_alerts
from tests.fake_sentry import FakeSentry
from tests.http_server import Answer, HttpServer, Reply, drip, hang, http_server, reset
from tests.mail_server import MailServer

__all__ = ["http_server"]

#: In no address, body or header but that of the receiver itself may this be.
SECRET = "tk_Xb71aYq0secret"


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give out again at once what was taken and not acknowledged."""
    monkeypatch.setattr(streams, "REDELIVER_MS", 0)


def phone(server: HttpServer) -> str:
    """Return an address at a receiver that takes messages as a self-hosted ntfy does."""
    return f"ntfy://user:{SECRET}@{server.address}/topic?image=no"


def messages(server: HttpServer) -> list[dict[str, Any]]:
    return [request.json for request in server.requests]


def pass_time(store: Store) -> None:
    """Let every open alert be due now."""
    client: Any = store.client
    shard = store.keyring.shards[0]
    for name in client.zrange(shard.reminders, 0, -1):
        client.zadd(shard.reminders, {name: 1})
    client.delete(shard.cooldown("", "remind"))


def open_alerts(store: Store) -> list[tuple[str, int]]:
    return [(it.name, it.count) for it in Reminders(store).open()]


def test_alert_reaches_mail_and_phone_and_is_acknowledged_as_delivered(
    store: Store, mail_server: MailServer, http_server: HttpServer
) -> None:
    raise_alerts(store)

    notifier(store, [mail_server.url, phone(http_server)])()

    (mail,), (push,) = mail_server.mails, messages(http_server)
    assert mail["to"] == "owner@example.com"
    for told in (f"{mail['subject']} {mail}", f"{push['title']} {push['message']}"):
        assert "salon" in told
        assert "alerts ack" in told
    assert notified(store) == [True]


#: What a receiver does → the code that is logged, the words for an operator.
REFUSALS: dict[str, tuple[Answer, str, str]] = {
    "500": (Reply(500), "http_500", "error=500"),
    "401": (Reply(401), "http_401", "error=401"),
    "redirect": (Reply(302, headers={"Location": "http://127.0.0.1:1/x"}), "http_302", "error=302"),
    "reset": (reset, "no_connection", "onnection"),
    "hangs": (hang, "timed_out", "did not answer"),
    "drips": (drip(b"HTTP/1.1 200 OK\r\n"), "timed_out", "did not answer"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_alert_that_no_address_takes_stays_pending_and_the_address_is_not_shown(
    store: Store,
    http_server: HttpServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    answer, code, says = REFUSALS[case]
    if code == "timed_out":
        monkeypatch.setattr(sinks, "SEND_S_MAX", 0.2)
    http_server.answer(answer)
    raise_alerts(store)
    notify = notifier(store, [phone(http_server)])

    notify()

    assert notified(store) == [False]
    (line,) = [vars(it) for it in caplog.records if it.message == "sink.failed"]
    assert (line["sink"], line["code"]) == ("NOTIFY_URLS 1 (ntfy)", code)
    (address,) = notify.people.addresses
    assert SECRET not in "".join(f"{vars(it)}" for it in caplog.records) + repr(address)
    http_server.answer(answer)
    if code != "timed_out":
        assert says in address.send(Message("t", "b")).outcome().says
        notify()
        assert notified(store) == [True]
    else:
        assert address.send(Message("t", "b")).outcome().code == "busy"


def test_address_that_hangs_delays_no_other_and_is_not_asked_twice(
    store: Store, http_server: HttpServer, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "SEND_S_MAX", 2)
    http_server.answer(*[hang] * 3)
    notify = notifier(store, [phone(http_server), mail_server.url])

    for kind in ("poison", "deadline", "ambiguous"):
        raise_alerts(store, kind=kind)
        notify()

    assert (len(mail_server.mails), len(http_server.requests)) == (3, 1)
    assert notified(store) == [True] * 3


def test_storm_of_one_cause_is_one_message_and_a_digest(
    store: Store, http_server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RATE_MAX", 100)
    notify = notifier(store, [phone(http_server)])
    raise_alerts(store)
    notify()
    for _ in range(3):
        raise_alerts(store, 4)
        notify()
    assert (len(http_server.requests), notified(store)) == (1, [True] * 13)

    pass_time(store)
    notify()

    _, digest = messages(http_server)
    assert "12 more times" in digest["title"]
    assert open_alerts(store) == [("salon poison", 13)]


def test_causes_that_come_together_are_one_message_the_most_urgent_first(
    store: Store, http_server: HttpServer
) -> None:
    for kind in ("overdue", "poison", "deadline"):
        raise_alerts(store, kind=kind)

    notifier(store, [phone(http_server)])()

    (told,) = messages(http_server)
    assert told["title"].startswith("3 alerts. A customer of salon is not answered: ")
    assert "A customer of salon waits for an answer" in told["message"]
    assert "the message was too old" in told["message"]


def test_error_is_told_again_until_a_person_acknowledges_it(
    store: Store, http_server: HttpServer
) -> None:
    notify = notifier(store, [phone(http_server)])
    raise_alerts(store)
    notify()
    for _ in range(2):
        pass_time(store)
        notify()
        notify()
    assert len(http_server.requests) == 3
    assert messages(http_server)[-1]["title"].startswith("Not acknowledged: ")

    reminders = Reminders(store)
    (ack,) = reminders.acknowledge(reminders.open(), "anna")
    pass_time(store)
    notify()

    assert (ack.name, ack.by, ack.count) == ("salon poison", "anna", 1)
    assert reminders.acknowledgements() == [ack]
    assert (len(http_server.requests), open_alerts(store)) == (3, [])
    raise_alerts(store)
    notify()
    assert len(http_server.requests) == 4


def test_alert_that_came_while_a_person_acknowledged_stays_open(store: Store) -> None:
    reminders = Reminders(store)
    raise_alerts(store, 2)
    first, second = Alerts(store).take(9)
    reminders.keep({first: 1}, told=())
    read = reminders.open()
    reminders.keep({second: 1}, told=())

    assert reminders.acknowledge(read, "anna") == []
    reminders.told(read, again_ms=0)

    assert open_alerts(store) == [("salon poison", 2)]


QUIET: dict[str, Any] = {"NOTIFY_QUIET": "00:00-23:59"}
#: kind, settings, whether people are told at once, whether it is open afterwards.
WHO_IS_TOLD: dict[str, tuple[str, dict[str, Any], bool, bool]] = {
    "error": ("poison", {}, True, True),
    "warning": ("overdue", {}, True, True),
    "info": ("channel_recovered", {}, False, False),
    "warning below": ("overdue", {"NOTIFY_MIN_SEVERITY": "error"}, False, False),
    "error below": ("poison", {"NOTIFY_MIN_SEVERITY": "fatal"}, False, False),
    "quiet": ("poison", QUIET, False, True),
    "fatal": ("flusher_silent", QUIET, True, True),
}


@pytest.mark.parametrize("case", WHO_IS_TOLD)
def test_severity_and_quiet_hours_decide_what_is_told_at_once(
    store: Store, http_server: HttpServer, case: str
) -> None:
    kind, settings, is_told, is_open = WHO_IS_TOLD[case]
    raise_alerts(store, kind=kind)

    notifier(store, [phone(http_server)], **settings)()

    assert (bool(http_server.requests), bool(open_alerts(store))) == (is_told, is_open)
    assert notified(store) == [True]


def test_what_came_in_quiet_hours_is_told_after_them(store: Store, http_server: HttpServer) -> None:
    raise_alerts(store, 3)
    notifier(store, [phone(http_server)], **QUIET)()
    pass_time(store)
    notifier(store, [phone(http_server)], **QUIET)()
    assert http_server.requests == []
    pass_time(store)

    notifier(store, [phone(http_server)])()

    assert len(http_server.requests) == 1


def test_warning_and_what_is_not_to_be_repeated_is_told_once(
    store: Store, http_server: HttpServer
) -> None:
    notify = notifier(store, [phone(http_server)], NOTIFY_REPEAT_MS="0")
    raise_alerts(store)
    notify()
    for _ in range(3):
        pass_time(store)
        notify()

    assert (len(http_server.requests), open_alerts(store)) == (1, [])


def test_outage_that_is_over_is_not_told_again(store: Store, http_server: HttpServer) -> None:
    store.open_circuit("salon", Dependency.MODEL, "model_auth")
    notify = notifier(store, [phone(http_server)])
    notify()
    pass_time(store)
    notify()
    assert len(http_server.requests) == 2

    store.client.delete(store.keyring.shards[0].circuit("salon", Dependency.MODEL))
    pass_time(store)
    notify()

    assert (len(http_server.requests), open_alerts(store)) == (2, [])
    assert [it.by for it in Reminders(store).acknowledgements()] == ["recovered"]


def test_alert_that_sentry_alone_took_is_tried_at_the_address_again(
    store: Store, http_server: HttpServer
) -> None:
    http_server.answer(Reply(500))
    raise_alerts(store)
    (alert,) = Alerts(store).take(9)
    notify = notifier(store, [phone(http_server)])
    people = notify.people

    assert people.tell([alert], notify.notifications([alert]), lambda: [alert]) == ({alert}, set())
    pass_time(store)
    people.remind()

    assert len(http_server.requests) == 2
    assert [it.untold for it in Reminders(store).open()] == [0]


#: Where the notifier dies: the step that raises.
CRASHES = ("acknowledge", "keep", "told")


@pytest.mark.parametrize("step", CRASHES)
def test_notifier_that_dies_after_an_address_took_an_alert_repeats_and_loses_none(
    store: Store, http_server: HttpServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    notify = notifier(store, [phone(http_server)])
    if step == "told":
        raise_alerts(store, kind="deadline")
        notify()
        pass_time(store)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    raise_alerts(store)
    with monkeypatch.context() as dying:
        dying.setattr(Alerts if step == "acknowledge" else Reminders, step, die)
        with pytest.raises(KeyboardInterrupt):
            notify()
    before = len(http_server.requests)
    pass_time(store)
    notify()

    assert len(http_server.requests) == before + 1
    assert all(notified(store))


def test_account_has_addresses_of_its_own_beside_those_for_all(
    store: Store, http_server: HttpServer, mail_server: MailServer
) -> None:
    notify = notifier(store, [phone(http_server)])
    (own,) = addresses_of(load_settings({"NOTIFY_URLS": mail_server.url}), [])
    own.account_id = "salon"
    notify.people.addresses.append(own)  # type: ignore[attr-defined]
    raise_alerts(store)
    raise_alerts(store, account="barber")
    notify()

    (mail,) = mail_server.mails
    assert "barber" not in f"{mail}"
    assert len(http_server.requests) == 1


def test_wrong_addresses_are_named_by_number_and_scheme(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="NOTIFY_URLS 1: is no address") as caught:
        notifier(store, [SECRET, f"bogus://{SECRET}", "json://127.0.0.1/x"])
    lines = caught.value.detail.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"NOTIFY_URLS {n}" for n in (1, 2)]
    assert SECRET not in f"{lines}"


#: Hours, now, when they end.
HOURS: Sequence[tuple[str, str, str]] = (
    ("22:00-07:00", "2026-03-01T23:00Z", "2026-03-02T07:00Z"),
    ("22:00-07:00", "2026-03-01T06:59Z", "2026-03-01T07:00Z"),
    ("22:00-07:00", "2026-03-01T07:00Z", ""),
    ("13:00-14:00 Europe/Berlin", "2026-07-01T11:30Z", "2026-07-01T12:00Z"),
    ("13:00-14:00 Europe/Berlin", "2026-07-01T12:00Z", ""),
    ("22:00-07:00 Europe/Berlin", "2026-03-28T22:00Z", "2026-03-29T05:00Z"),
)


@pytest.mark.parametrize(("text", "now", "end"), HOURS)
def test_quiet_hours_are_those_of_their_zone(text: str, now: str, end: str) -> None:
    hours = hours_of(text)
    assert hours
    found = hours.end_ms(_ms(now))
    assert found == (_ms(end) if end else 0)


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_address_reaches_neither_log_nor_sentry_at_any_level(
    store: Store, http_server: HttpServer, sentry: FakeSentry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Libraries of HTTP tell every path at DEBUG, and Sentry's notes it as a breadcrumb."""
    given = load_settings({"SENTRY_DSN": sentry.dsn, "LOG_LEVEL": "DEBUG"})
    start_logging(role="scheduler", release="r", level="DEBUG")
    start_reporting(given, "scheduler")
    http_server.answer(Reply(500))
    raise_alerts(store)

    notifier(store, [f"json://u:p@{http_server.address}/{SECRET}"], sentry=True)()
    logging.getLogger("tests").error("flush.failed")
    flush()

    assert SECRET in http_server.requests[0].path
    assert "flush.failed" in sentry.text
    assert "sink.failed" in (said := capsys.readouterr()).out
    assert SECRET not in sentry.text + said.out + said.err
