"""What only a worker knows: a part that the provider took, an answer that was paid for.

The ledger is away, or takes no writes, in the moment in which it is to be recorded.
"""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from batching.errors import LedgerUnavailableError, PermanentError, TransientError
from batching.model import Exchange, Stage
from batching.store import SCRIPTS
from tests.batching.world import ANSWERED, DEAD, World
from tests.fakes import FakeChannel, FakePause


@pytest.fixture
def read_only(world: World) -> Callable[[str], None]:
    """Return what has the server refuse writes, as one that was just made a replica, or not."""
    client = world.client

    def switch(to: str) -> None:
        client.execute_command("REPLICAOF", *to.split())

    return switch


@pytest.mark.parametrize("policy", ["alert", "resend"])
@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("lease_over", [False, True], ids=["in time", "lease over"])
def test_what_is_known_while_the_ledger_takes_no_writes_is_recorded_when_it_does(
    world: World, read_only: Callable[[str], None], policy: str, stage: Stage, *, lease_over: bool
) -> None:
    """No second copy, no dead letter, no second question: under either policy."""
    world.ambiguous = policy
    port = world.model if stage is Stage.GENERATE else world.channel
    port.before = lambda: read_only("127.0.0.1 1")

    def comes_back() -> None:
        port.before = None
        read_only("NO ONE")
        if lease_over:
            # A flush is faster than the worker that waits.
            world.wait(30_000)
            world.queue.wake_ups = world.flush()

    world.pause.after[3] = comes_back
    world.write("Hi")

    world.settle(9_000, 10_000, 60_000)

    assert (world.counts(), world.alerts()) == (ANSWERED, [])
    assert (world.model.turns, world.channel.texts) == (["Hi"], ["Answer to: Hi"])
    assert len(world.pause.waits) == 3


def test_answer_that_comes_after_another_worker_has_begun_is_refused(world: World) -> None:
    slow = world.begin(world.to_generating())
    second = world.after(30_000)
    run = world.begin(second)

    assert not world.store.checkpoint(slow, ["late"], Exchange("Hi", "late"))
    assert world.store.checkpoint(run, ["soon"], Exchange("Hi", "soon"))


def test_answer_is_late_for_its_own_batch_alone(world: World) -> None:
    """The batch ended meanwhile, and the customer's next one is to be answered anew."""
    slow = world.begin(world.to_generating())
    world.settle(30_000)
    world.write("and?")
    world.after(9_000)

    assert not world.store.checkpoint(slow, ["late"], Exchange("Hi", "late"))


@pytest.mark.parametrize(
    ("outcome", "expected", "alerts"),
    [
        (TransientError("cloud_131016"), ANSWERED, []),
        (PermanentError("cloud_131026"), DEAD, [("fatal_provider", "cloud_131026")]),
    ],
)
def test_refusal_that_is_known_leaves_no_doubt(
    world: World,
    read_only: Callable[[str], None],
    outcome: Exception,
    expected: dict[str, int],
    alerts: list[tuple[str, str]],
) -> None:
    """The provider did not take the part: that must not end as a part that may be out."""
    world.channel = FakeChannel(outcome, before=lambda: read_only("127.0.0.1 1"))

    def comes_back() -> None:
        world.channel.before = None
        read_only("NO ONE")

    world.pause.after[2] = comes_back
    world.write("Hi")

    world.settle(9_000, 60_000, 60_000)

    assert (world.counts(), world.alerts()) == (expected, alerts)


def test_lost_answer_of_the_ledger_before_a_part_leaves_is_no_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mark_sending was carried out, and the worker that asked knows that nothing left yet."""
    lose_answer_of(monkeypatch, "mark_sending")
    world.write("Hi")

    world.settle(9_000)

    assert (world.counts(), world.channel.texts) == (ANSWERED, ["Answer to: Hi"])


@pytest.mark.parametrize(
    ("verb", "stage"), [("mark_sent", "send"), ("checkpoint", "generate"), ("finish", "send")]
)
def test_worker_that_must_end_says_what_the_ledger_was_not_told(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    verb: str,
    stage: str,
) -> None:
    world.pause = FakePause(last=2)
    lose_answer_of(monkeypatch, verb, times=99, carried_out=False)
    world.write("Hi")

    with pytest.raises(LedgerUnavailableError):
        world.settle(9_000)

    (record,) = [record for record in caplog.records if record.msg == "step.unrecorded"]
    named: Any = record
    assert (named.step, named.stage, named.code) == (verb, stage, "ledger_away")
    assert len(world.pause.waits) == 2


def test_pauses_grow_and_stay_short(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is back first takes the batch: the worker that knows must not sleep then."""
    lose_answer_of(monkeypatch, "mark_sent", times=8)
    world.write("Hi")

    world.settle(9_000)

    assert world.pause.waits == [50, 100, 200, 200, 200, 200, 200, 200]


def lose_answer_of(
    monkeypatch: pytest.MonkeyPatch, verb: str, times: int = 1, *, carried_out: bool = True
) -> None:
    """Have the connection break at a script, so many times: behind it, or before."""
    execute, left = redis.Redis.execute_command, [times]

    def broken(client: redis.Redis, *args: Any, **options: Any) -> Any:
        if SCRIPTS[verb].digest not in args or not left[0]:
            return execute(client, *args, **options)
        left[0] -= 1
        if carried_out:
            execute(client, *args, **options)
        raise redis.ConnectionError

    monkeypatch.setattr(redis.Redis, "execute_command", broken)
