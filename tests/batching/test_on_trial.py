"""The ledger of a release on trial: in the same Redis, and apart from all that the service has."""

import re
from dataclasses import replace
from typing import Any

import redis

from batching import flow
from batching.model import CANARY_ACCOUNT, InboundMessage, Kind, Limits
from batching.store import Store
from tests.fakes import FakeQueue

DUE = Limits(idle_ms=0, max_wait_ms=0)
ANNA = InboundMessage("salon", "79990000001", "m1", Kind.TEXT, "Hi")
BORIS = replace(ANNA, customer="79990000002", message_id="m2")
CANARY = replace(ANNA, account_id=CANARY_ACCOUNT, customer="canary", message_id="m3")


def kept(client: redis.Redis) -> dict[str, bytes]:
    """Return all that is no trial's, by its key."""
    names = sorted(name.decode() for name in client.scan_iter(count=1_000))
    dump: Any = client.dump
    return {name: dump(name) for name in names if not re.match(r"\{aa1\.trial\.canary\}:", name)}


def test_release_on_trial_touches_nothing_of_the_service(client: redis.Redis) -> None:
    """What is due, and what lost its lease, are the service's: customers' and canaries alike."""
    service = Store(client, privacy_key="k", shards=3)
    on_trial = Store(client, privacy_key="k", shards=3, trial=True)
    assert service.open() == on_trial.open()
    flow.receive(service, [ANNA, BORIS, CANARY], lambda _: DUE)
    shard = service.shard_of(service.conversation_id(ANNA.account_id, ANNA.customer))
    service.collect(shard, limit=1)
    lapsed: Any = client.zrange(shard.lease, 0, -1)
    client.zadd(shard.lease, dict.fromkeys(lapsed, 1))
    before, queue = kept(client), FakeQueue()

    flow.receive(on_trial, [CANARY, ANNA], lambda _: DUE)
    assert flow.flush(on_trial, queue) == 2
    flow.raise_overdue(on_trial)

    assert kept(client) == before
    assert flow.flush(service, FakeQueue()) == 3
