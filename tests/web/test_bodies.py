"""Which bodies are read, and which find room beside others."""

import io
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import falcon.testing
import gevent  # type: ignore[import-untyped]
import pytest

from runtime.build import Runtime
from tests.fakes import FakeClock
from tests.web.conftest import accepted
from tests.webhooks import CLOUD, JSON, VENOM, VENOM_SECRET, code, padded, signed
from web.errors import RefusalError
from web.webhooks import (
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    ROOM_WAITING_MAX,
    SENDER_MS_MAX,
    SENDERS_MAX,
    STRANGERS_BYTES_MAX,
    Bodies,
)

HEX = "0f" * 32
META = "X-Hub-Signature-256"
GATEWAY = {"X-Timestamp": "1768478400000"}


class Unread(io.BytesIO):
    """A body that must not be read."""

    def read(self, _size: int | None = -1) -> bytes:
        raise AssertionError


@pytest.mark.parametrize(
    ("path", "headers", "refusal"),
    [
        *(
            pytest.param(CLOUD, {META: mark}, (401, "signature"), id=mark[:20])
            for mark in (
                *("", "sha256=", HEX, f"sha1={HEX[:40]}", f"sha256={HEX[1:]}", f"sha256={HEX}0"),
                *(f"sha256={HEX[1:]}g", f"sha256= {HEX[1:]}", f"sha256={HEX[:-1]}\xb2"),
            )
        ),
        (CLOUD, {}, (401, "signature")),
        (CLOUD, VENOM_SECRET, (401, "signature")),
        *(
            pytest.param(f"/webhooks/venom/{name}", headers, (401, "secret"), id=f"{name}, {what}")
            for name in ("nails", "nobody", "salon", "%00")
            for what, headers in {
                "nothing": {},
                "secret": {"X-Webhook-Secret": "guess"},
                "password": {"Authorization": "Basic bmFpbHM6Z3Vlc3M="},
                "signature without a time": {"X-Signature": HEX},
                "old signature": GATEWAY | {"X-Signature": HEX},
                "no signature": {"X-Timestamp": "soon", "X-Signature": "guess"},
            }.items()
        ),
        ("/webhooks/canary", {"X-Webhook-Secret": "guess"}, (401, "secret")),
        ("/webhooks/canary", {META: f"sha256={HEX}"}, (401, "secret")),
        (CLOUD, {META: f"sha256={HEX}", "Content-Length": "9" * 20}, (413, "body_too_large")),
        (CLOUD, {"Content-Length": str(BODY_BYTES_MAX + 1)}, (413, "body_too_large")),
        (VENOM, {"Content-Length": str(BODY_BYTES_MAX + 1)}, (413, "body_too_large")),
        ("/livez", {}, (405, "method_not_allowed")),
        ("/readyz", {}, (405, "method_not_allowed")),
        ("/fleet", {}, (405, "method_not_allowed")),
        ("/nowhere", {}, (404, "not_found")),
        ("/webhooks/nobody/nails", {META: f"sha256={HEX}"}, (404, "not_found")),
    ],
)
def test_body_is_not_read_for_a_stranger(
    http: falcon.testing.TestClient,
    path: str,
    headers: Mapping[str, str],
    refusal: tuple[int, str],
) -> None:
    sent = JSON | {"Content-Length": "1000"} | dict(headers)

    result = http.simulate_post(path, headers=sent, extras={"wsgi.input": Unread()})

    assert code(result) == refusal


@dataclass
class Connection:
    """A client's connection as gunicorn.conf.py has it."""

    waits: bool = True
    given_up: bool = False

    def give_up(self) -> None:
        self.given_up = True


def test_body_that_was_given_up_may_come_again(
    http: falcon.testing.TestClient, runtime: Runtime
) -> None:
    """It may be an honest one: the provider or the proxy delivers it again."""
    raw = padded(1_000)
    extras = {"gunicorn.socket": Connection(given_up=True), "wsgi.input": io.BytesIO(raw[:10])}

    headers = signed(raw) | {"Content-Length": "1000"}
    result = http.simulate_post(CLOUD, headers=headers, extras=extras)

    assert code(result) == (503, "no_room")
    assert result.headers["Retry-After"] == "5"
    assert accepted(runtime) == 0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bodies(clock: FakeClock) -> Bodies:
    return Bodies(clock)


Hold = Callable[..., bool]


@pytest.fixture
def hold(bodies: Bodies) -> Hold:
    """Return what holds a body on and on, and says whether there was room."""
    stack = ExitStack()

    def hold_on(
        size: int, sender: str = "203.0.113.9", *, at: Connection | None = None, known: bool = False
    ) -> bool:
        try:
            stack.enter_context(bodies.hold(size, sender, at, is_known=known))
        except RefusalError:
            return False
        return True

    return hold_on


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.webhooks.ROOM_WAITS_MS", (0, 0))


def fill(hold: Hold, *sender: str, known: bool = False) -> int:
    """Hold largest bodies until there is no room; return how many found some."""
    return sum(hold(BODY_BYTES_MAX, *sender, known=known) for _ in range(100))


def test_strangers_have_half_of_the_room_and_the_others_all_that_is_left(
    bodies: Bodies, hold: Hold
) -> None:
    bodies.note("192.0.2.1", is_proven=True)

    strangers, proven = fill(hold), fill(hold, "192.0.2.1")

    assert strangers == STRANGERS_BYTES_MAX // BODY_BYTES_MAX
    assert strangers + proven == BODIES_BYTES_MAX // BODY_BYTES_MAX


@pytest.mark.parametrize("known", [True, False])
def test_strangers_have_their_half_however_many_others_there_were(
    bodies: Bodies, hold: Hold, *, known: bool
) -> None:
    """Proven once, and now slow: their bodies go for one that is not larger."""
    bodies.note("192.0.2.1", is_proven=True)
    slow = [Connection() for _ in range(10)]
    assert all(hold(BODY_BYTES_MAX, "192.0.2.1", at=it, known=known) for it in slow)

    # Nobody is given up whom the headers proved.
    hold(BODY_BYTES_MAX)

    assert [it.given_up for it in slow] == [not known] + [False] * 9


def test_sender_is_a_stranger_again_after_a_while_or_a_body_that_proves_nothing(
    bodies: Bodies, clock: FakeClock, hold: Hold
) -> None:
    for sender in ("late", "wrong", "broken", "right"):
        bodies.note(sender, is_proven=True)
        clock.advance_ms(1)
    clock.advance_ms(SENDER_MS_MAX - 4)
    bodies.note("wrong", is_proven=False)
    with pytest.raises(RefusalError), bodies.hold(1, "broken", None, is_known=False):
        raise RefusalError(408, "body_too_slow", "")  # type: ignore[arg-type]
    fill(hold)
    clock.advance_ms(1)

    senders = ("late", "wrong", "broken", "right")
    assert [hold(BODY_BYTES_MAX, sender) for sender in senders] == [False, False, False, True]


def test_senders_that_proved_something_last_are_remembered(bodies: Bodies, hold: Hold) -> None:
    bodies.note("first", is_proven=True)
    for n in range(SENDERS_MAX - 1):
        bodies.note(f"sender {n}", is_proven=True)
    bodies.note("first", is_proven=True)
    bodies.note("last", is_proven=True)
    fill(hold)

    assert hold(BODY_BYTES_MAX, "first")
    assert not hold(BODY_BYTES_MAX, "sender 0")


@pytest.mark.parametrize(
    ("size", "sender", "given_up"),
    [
        pytest.param(100, "honest", ["large"], id="the largest goes for a small one"),
        pytest.param(BODY_BYTES_MAX, "honest", ["large"], id="and for one as large, the oldest"),
        pytest.param(BODY_BYTES_MAX, "192.0.2.1", [], id="whoever is proven has room"),
        pytest.param(1_000_000, "honest", ["large"], id="not the smaller ones"),
    ],
)
def test_stranger_that_keeps_us_waiting_goes(
    bodies: Bodies, hold: Hold, size: int, sender: str, given_up: list[str]
) -> None:
    bodies.note("192.0.2.1", is_proven=True)
    held = {name: Connection() for name in ("small", "busy", "large", "later", "last", "other")}
    held["busy"].waits = False
    sizes = {"small": STRANGERS_BYTES_MAX - 5 * BODY_BYTES_MAX}
    for name, connection in held.items():
        assert hold(sizes.get(name, BODY_BYTES_MAX), "203.0.113.9", at=connection)

    hold(size, sender)

    assert [name for name, connection in held.items() if connection.given_up] == given_up


def test_smaller_body_is_not_given_up_for_a_larger_one(hold: Hold) -> None:
    small = [Connection() for _ in range(16)]
    assert all(hold(STRANGERS_BYTES_MAX // 16, at=it) for it in small)

    assert not hold(BODY_BYTES_MAX)
    assert not any(it.given_up for it in small)


def post(bodies: Bodies, answers: list[str]) -> None:
    """Post a body of all that strangers may have, and note what became of it."""
    try:
        with bodies.hold(STRANGERS_BYTES_MAX, "one", None, is_known=False):
            answers.append("held")
    except RefusalError as refusal:
        answers.append(refusal.reason)


def test_body_waits_until_another_has_left(bodies: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.webhooks.ROOM_WAITS_MS", (0,) * 1_000)
    answers: list[str] = []

    with bodies.hold(STRANGERS_BYTES_MAX, "other", None, is_known=False):
        waiting = gevent.spawn(post, bodies, answers)
        gevent.sleep(0)
        before = list(answers)
    waiting.join()

    assert (before, answers) == ([], ["held"])


def test_few_bodies_wait(bodies: Bodies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.webhooks.ROOM_WAITS_MS", (60_000,))
    answers: list[str] = []

    with bodies.hold(STRANGERS_BYTES_MAX, "other", None, is_known=False):
        waiting = [gevent.spawn(post, bodies, answers) for _ in range(ROOM_WAITING_MAX + 3)]
        gevent.idle()
        refused = list(answers)
        gevent.killall(waiting)

    assert refused == ["no_room"] * 3
