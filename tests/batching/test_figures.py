"""Sums in a process, and what becomes of them in the ledger."""

from threading import Thread

import pytest
import redis

from batching.errors import TransientError
from batching.figures import SUMS_MAX, TIMED, Figures, Summed
from batching.keys import FIGURES
from runtime.clients import redis_client
from tests.valkey_server import ValkeyServer


def summed(client: redis.Redis) -> Summed:
    kept: dict[bytes, bytes] = client.hgetall(FIGURES)  # type: ignore[assignment]
    return Summed(kept)


def test_sums_of_all_processes_are_added_up(client: redis.Redis) -> None:
    for _ in range(2):
        process = Figures()
        process.count("retries", "model_429")
        process.timed("sending", "salon", "done", ms=40)
        process.timed("sending", "salon", "done", ms=99_000)
        process.write(client)
        process.write(client)

    found, beyond = summed(client), len(TIMED["sending"])
    assert found.counted("retries") == {("model_429",): 2}
    buckets, total_ms = found.times("sending")["salon", "done"]
    assert (total_ms, buckets) == (198_080, [2, *[0] * (beyond - 1), 2])


def test_sums_wait_for_a_ledger_that_is_away(
    client: redis.Redis, other_valkey: ValkeyServer
) -> None:
    other_valkey.start()
    away, process = redis_client(other_valkey.url(0), "scheduler"), Figures()
    other_valkey.kill()
    process.count("deaths", "worker")

    for _ in range(2):
        with pytest.raises(redis.RedisError):
            process.write(away)
    process.count("deaths", "worker")
    process.write(client)

    assert summed(client).counted("deaths") == {("worker",): 2}
    away.close()


def test_bounds_of_another_release_count_towards_the_next_of_ours(client: redis.Redis) -> None:
    """And what is no number counts nothing."""
    client.hset(
        FIGURES,
        items=["wait salon 700", 1, "wait salon 1000", 1, "wait salon 999999999", 1,
               "wait salon beyond", 1, "wait salon sum", "odd", "odd", "odd"],
    )  # fmt: skip

    buckets, total_ms = summed(client).times("wait")["salon",]

    assert (buckets[0], buckets[-1], sum(buckets), total_ms) == (2, 2, 4, 0)


def test_threads_lose_nothing_to_each_other_and_labels_are_bounded(client: redis.Redis) -> None:
    process = Figures()

    def count() -> None:
        for n in range(SUMS_MAX + 10):
            process.count("failures", "model", f"code_{n}")

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.write(client)

    found = summed(client).counted("failures")
    assert (len(found), set(found.values())) == (SUMS_MAX, {4})


@pytest.mark.parametrize(
    ("error", "code"),
    [(TransientError("model_429"), "model_429"), (ValueError("+7999"), "ValueError")],
)
def test_call_that_fails_is_timed_and_counted_by_its_code(
    client: redis.Redis, error: Exception, code: str
) -> None:
    process = Figures()
    with pytest.raises(type(error)), process.call("generation", "model", "salon", "model"):
        raise error
    with process.call("generation", "model", "canary", "model"):
        pass
    process.write(client)

    found = summed(client)
    assert found.counted("failures") == {("model", code): 1}
    assert found.times("generation").keys() == {("salon", "model", "failed")}
