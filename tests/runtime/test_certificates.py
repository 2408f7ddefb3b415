"""Until when servers' certificates are valid, seen at servers that speak TLS."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batching.store import Store
from runtime import health
from runtime.certificates import DAY_MS, KNOWN_MS, Known, certificates
from runtime.health import Context, Level
from runtime.settings import Settings, load_settings
from tests.fakes import FakeClock
from tests.tls import HOSTS, installation, make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """Return what makes certificates that end in so many days."""

    def of(days: float) -> Path:
        return make(tmp_path_factory.mktemp("certificates"), days)

    return of


@pytest.fixture(scope="module")
def month(made: Callable[[float], Path]) -> Iterator[Settings]:
    """Yield an installation whose certificates end in 30 days."""
    with installation(made(30)) as settings:
        yield settings


def test_every_server_that_is_reached_by_tls_is_seen(month: Settings) -> None:
    found = {it.of: it for it in certificates(month)}

    assert {name: it.about for name, it in found.items()} == {
        "ledger": "REDIS_URL",
        "broker": "BROKER_URL",
        "proxy": "CANARY_URL",
    }
    assert len({it.until_ms for it in found.values()} - {None, 0}) >= 1


def test_servers_without_tls_have_none() -> None:
    assert list(certificates(load_settings({"CANARY_URL": "http://127.0.0.1:1"}))) == []


@pytest.mark.parametrize(
    ("left", "level", "says"),
    [
        (21.5, Level.OK, "ends in 21 d"),
        (20.5, Level.WARNING, "ends in 20 d"),
        (7.5, Level.WARNING, "ends in 7 d"),
        (6.5, Level.MISTAKE, "ends in 6 d"),
        (-0.5, Level.MISTAKE, "has ended"),
    ],
)
def test_doctor_warns_three_weeks_before_the_end_and_is_red_one_week_before(
    store: Store, clock: FakeClock, month: Settings, left: float, level: Level, says: str
) -> None:
    (until_ms, *_) = [it.until_ms for it in certificates(month)]
    assert until_ms
    clock.advance_ms(until_ms - int(left * DAY_MS) - clock())

    found = health.check_certificates(Context(store, month, None))

    assert [(it.level, it.says) for it in found] == [
        (level, f"that of the {name} {says}") for name in HOSTS
    ]
    assert all(bool(it.advice) is (level is not Level.OK) for it in found)


def test_certificate_that_has_ended_or_cannot_be_seen_is_told(
    store: Store, made: Callable[[float], Path]
) -> None:
    with installation(made(-0.01)) as settings:
        over = list(certificates(settings))
        told = health.check_certificates(Context(store, settings, None))
    gone = list(certificates(settings))
    unseen = health.check_certificates(Context(store, settings, None))

    assert {it.until_ms for it in over} == {0}
    assert {(it.level, it.says.partition(" has ")[2]) for it in told} == {(Level.MISTAKE, "ended")}
    assert [(it.until_ms, it.why) for it in gone] == [(None, "ConnectionRefusedError")] * 3
    assert {it.level for it in unseen} == {Level.WARNING}


def test_certificate_of_another_authority_cannot_be_seen(
    month: Settings, made: Callable[[float], Path]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(made(30) / "ca.pem"))
        found = {it.of: it for it in certificates(month)}

    assert (found["proxy"].until_ms, bool(found["proxy"].why)) == (None, True)
    assert found["ledger"].until_ms


def test_servers_are_called_again_after_ten_minutes_only(made: Callable[[float], Path]) -> None:
    clock = FakeClock()
    with installation(made(30)) as settings:
        known = Known(settings, clock)
        first = known.read()
    assert known.read() == first

    clock.advance_ms(KNOWN_MS)

    assert {it.until_ms for it in known.read()} == {None}
