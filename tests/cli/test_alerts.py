"""Open alerts are listed and acknowledged; a test shows where people are told."""

from standardwebhooks import Webhook

from batching.alerts import Alerts
from batching.outbox import Outbox
from batching.reminders import Reminders
from tests.alerts import raise_alerts
from tests.batching.world import World
from tests.cli.conftest import Operator
from tests.fake_sentry import FakeSentry
from tests.http_server import HttpServer, Reply, http_server

__all__ = ["http_server"]

SECRET = "tk_Xb71aYq0secret"


def opened(world: World, *kinds: str) -> list[str]:
    """Open an alert of each kind, as the notifier does; return their ids."""
    for kind in kinds:
        world.store.alert_once(kind, "detail", account_id="salon", cooldown_ms=1)
    reminders = Reminders(world.store)
    alerts = [it for it in Alerts(world.store).newest(9) if it.kind in kinds]
    reminders.keep(dict.fromkeys(alerts, 5), told=alerts)
    return [it.open_id for kind in kinds for it in reminders.open() if it.first.kind == kind]


def test_open_alerts_are_acknowledged_by_id_kind_or_all_with_who_and_when(
    world: World, operator: Operator
) -> None:
    first, *_ = opened(world, "drift", "memory", "lost", "redacted")

    by_id = operator("alerts", "ack", first, "--by", "anna", "--json").json
    by_kind = operator("alerts", "ack", "memory", LOGNAME="boris")
    rest = operator("alerts", "ack", "--all", SUDO_USER="clara")
    none = operator("alerts", "ack", "--all")

    assert [(it["name"], it["by"], it["count"]) for it in by_id["acknowledged"]] == [
        ("salon drift detail", "anna", 1)
    ]
    assert (by_kind.status, "by boris" in by_kind.out) == (0, True)
    assert rest.out.count("by clara") == 2
    assert (none.status, none.out) == (0, "Nothing was open.\n")
    read = operator("alerts", "--json").json
    assert [it["by"] for it in read["acknowledged"]] == ["clara", "clara", "boris", "anna"]
    assert read["open"] == []


def test_open_alerts_are_listed_with_how_to_acknowledge_them(
    world: World, operator: Operator
) -> None:
    (open_id,) = opened(world, "drift")

    listed = operator("alerts")
    (read,) = operator("alerts", "--json").json["open"]

    assert f"{open_id}  salon drift detail  1 times" in listed.out
    assert "alerts ack" in listed.out
    assert (read["id"], read["count"], read["untold"]) == (open_id, 1, 0)


def test_wrong_names_acknowledge_nothing(world: World, operator: Operator) -> None:
    opened(world, "drift")

    for typed in ((), ("nonsense",), ("drift", "--all"), ("drift", "nonsense")):
        assert operator("alerts", "ack", *typed).status == 2
    assert len(operator("alerts", "--json").json["open"]) == 1


def test_every_sink_says_whether_it_took_a_test(
    operator: Operator, http_server: HttpServer, sentry: FakeSentry
) -> None:
    http_server.answer(Reply(200), Reply(503))
    urls = f"ntfy://u:{SECRET}@{http_server.address}/t"
    none = operator("notify", "test")
    one = operator("notify", "test", NOTIFY_URLS=urls)
    refused = operator("notify", "test", NOTIFY_URLS=urls, SENTRY_DSN=sentry.dsn)
    wrong = operator("notify", "test", NOTIFY_URLS=f"{urls} bogus://{SECRET}")

    assert (none.status, "log alone" in none.out) == (1, True)
    assert (one.status, one.out) == (0, "NOTIFY_URLS 1 (ntfy): taken\n")
    first, second = refused.out.splitlines()
    assert (refused.status, first) == (1, "SENTRY_DSN: taken")
    assert second.startswith("NOTIFY_URLS 1 (ntfy): ")
    assert "503" in second
    assert "NOTIFY_URLS 2: is no address" in wrong.err
    assert SECRET not in f"{one}{refused}{wrong}"


def test_check_refuses_addresses_that_are_none_or_that_production_refuses(
    operator: Operator,
) -> None:
    urls = f"json://u:{SECRET}@example.com/x xmls://169.254.169.254/x jsons://h.example/x?verify=no"
    cases = {
        "bogus://x": "NOTIFY_URLS 1: is no address that apprise knows (bogus://…)",
        urls: "NOTIFY_URLS 1 (json): sends alerts and its own secrets in clear text",
    }
    found = {given: operator("check", NOTIFY_URLS=given, ENVIRONMENT="staging") for given in cases}

    for given, says in cases.items():
        assert says in found[given].out
        assert SECRET not in found[given].out
    assert "NOTIFY_URLS 2 (xmls): is a link-local or metadata address" in found[urls].out
    assert "NOTIFY_URLS 3 (jsons): takes any server's certificate" in found[urls].out


def test_events_are_tried_and_replayed(
    operator: Operator, http_server: HttpServer, world: World
) -> None:
    secret = "whsec_c2VjcmV0LW9mLXRlc3RzLW5ldy0wMDAwMDAwMQ=="
    given = {"EVENTS_URL": f"{http_server.url}/{SECRET}", "EVENTS_SECRET": secret}
    raised = Outbox(world.store)
    raised.open()
    raise_alerts(world.store)
    raised.give_up(raised.take()[0], "http_500")

    tried = operator("notify", "test", **given)
    unset = operator("notify", "replay")
    replayed = operator("notify", "replay", **given)
    unsigned = operator("notify", "test", EVENTS_URL=given["EVENTS_URL"])

    assert (tried.status, tried.out) == (0, "EVENTS_URL: taken\n")
    assert Webhook(secret).verify(
        http_server.requests[0].body, dict(http_server.requests[0].headers)
    )
    assert (unset.status, replayed.out) == (1, "1 events are told again.\n")
    assert "EVENTS_SECRET: is missing" in unsigned.err
    assert SECRET not in f"{tried}{unset}{replayed}{unsigned}"
