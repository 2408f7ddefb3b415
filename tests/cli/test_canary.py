"""The operator's canary, through a real web server into a real ledger."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from batching.inspect import trace
from batching.keys import CANARY, CANARY_ANSWERED
from batching.model import CANARY_ACCOUNT
from canary.channel import CUSTOMER
from canary.probe import Probe
from runtime.build import Runtime, build
from tests.canaries import answer, collect, probe, served, working
from tests.cli.conftest import Operator
from tests.fakes import FakeQueue
from tests.valkey_server import ValkeyServer

__all__ = ["probe"]


@pytest.fixture
def runtime(operator: Operator) -> Iterator[Runtime]:
    handlers = logging.getLogger().handlers[:]
    built = build("web", operator.environ)
    # The process under test is the verb's: what a web process logs is none of its output.
    logging.getLogger().handlers[:] = handlers
    operator.capture.readouterr()
    yield built
    built.store.client.connection_pool.disconnect()


def test_answered_canary_prints_its_round_trip(operator: Operator, runtime: Runtime) -> None:
    with served(runtime) as url, working(runtime):
        read = operator("canary", "--url", url, "--json")
        told = operator("canary", "--url", f"{url}/")

    assert (read.status, told.status, told.err) == (0, 0, "")
    assert read.json | {"round_trip_ms": 0, "message_id": ""} == {
        "ok": True,
        "url": url,
        "message_id": "",
        "round_trip_ms": 0,
        "step": "",
    }
    assert read.json["round_trip_ms"] > 0
    assert told.out.startswith("Answered after ")


def test_canary_goes_to_canary_url_where_none_is_named(
    operator: Operator, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(runtime) as url, working(runtime):
        monkeypatch.setenv("CANARY_URL", url)

        assert operator("canary").status == 0


def test_canaries_of_one_batch_are_all_known_as_answered(
    runtime: Runtime, probe: Probe, client: redis.Redis
) -> None:
    """Several hosts and the scheduler send at once: one conversation, so one batch."""
    with served(runtime) as url:
        refusals = [probe.post(url, message_id) for message_id in ("m1", "m2", "m3")]

    answer(runtime)

    assert refusals == ["", "", ""]
    steps = trace(runtime.store, runtime.store.conversation_id(CANARY_ACCOUNT, CUSTOMER)).steps
    assert [step.words[0] for step in steps if step.verb == "finish"] == [""]
    answered: Any = client.zrange(CANARY_ANSWERED, 0, -1)
    assert answered == [b"m1", b"m2", b"m3"]
    assert all(probe.answered_ms(message_id) for message_id in ("m1", "m2", "m3"))
    assert probe.answered_ms("m4") == 0


def test_many_operators_at_once_are_all_answered_and_touch_no_canary_of_the_scheduler(
    operator: Operator, runtime: Runtime, client: redis.Redis
) -> None:
    client.hset(CANARY, items=["message_id", "m1", "posted_ms", "1"])
    with served(runtime) as url, working(runtime), ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: operator.process("canary", "--url", url), range(3)))

    assert [(answer.status, answer.err) for answer in done] == [(0, "")] * 3
    assert client.hgetall(CANARY) == {b"message_id": b"m1", b"posted_ms": b"1"}


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("open", "append: open, and not collected: look at scheduler, broker and workers"),
        ("behind", "append: open, behind a batch in generate: claimed (last step: collect "),
    ],
)
def test_unanswered_canary_is_printed_with_where_it_was_last_seen(
    operator: Operator, runtime: Runtime, probe: Probe, stage: str, step: str
) -> None:
    with served(runtime) as url:
        if stage == "behind":
            probe.post(url, "before")
            collect(runtime, FakeQueue())
        told = operator("canary", "--url", url, "--wait-ms", "1")
        read = operator("canary", "--url", url, "--wait-ms", "1", "--json")

    assert (told.status, read.status) == (1, 1)
    assert told.out.startswith(f"NOT answered, through {url}; last seen: {step}")
    assert read.json["step"].startswith(step)
    assert (read.json["ok"], read.json["round_trip_ms"]) == (False, None)


def test_canary_that_is_refused_is_not_waited_for(
    operator: Operator, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, client: redis.Redis
) -> None:
    unreachable = operator("canary", "--url", "http://127.0.0.1:1")
    with served(runtime) as url:
        client.flushall()
        monkeypatch.setenv("PRIVACY_KEY", "of-another-installation")
        stranger = operator("canary", "--url", url)

    assert (unreachable.status, stranger.status) == (1, 1)
    assert "last seen: webhook: no answer (unreachable: ConnectError): look at" in unreachable.out
    assert "last seen: webhook: HTTP 401: look at" in stranger.out


def test_canary_in_another_redis_is_missed_here(
    operator: Operator, runtime: Runtime, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The origin's true cause, seen before a customer meets it; and other canaries are about."""
    monkeypatch.setenv("REDIS_URL", valkey.url(2))
    with served(runtime) as url, working(runtime):
        answer = operator("canary", "--url", url, "--wait-ms", "1")

    assert answer.status == 1
    assert "is the web on another Redis?" in answer.out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--url", "ftp://127.0.0.1"),
        ("--url", "http://user:secret@127.0.0.1"),
        ("--wait-ms", "0"),
        ("--wait-ms", "600001"),
    ],
    ids=str,
)
def test_canary_with_a_wrong_url_or_wait_is_wrong_usage(
    operator: Operator, arguments: tuple[str, ...]
) -> None:
    answer = operator("canary", *arguments)

    assert answer.status == 2
    assert "secret" not in answer.err
