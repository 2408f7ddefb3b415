"""The operator's canary, through a real web server into a real ledger."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from batching.keys import CANARY
from runtime.build import Runtime, build
from tests.canaries import served, working
from tests.cli.conftest import Operator
from tests.valkey_server import ValkeyServer

#: Stands for a database of another installation.
ELSEWHERE = "elsewhere"


@pytest.fixture
def runtime(operator: Operator) -> Iterator[Runtime]:
    handlers = logging.getLogger().handlers[:]
    accounts = str(operator.directory / "accounts.toml")
    built = build("web", operator.environ | {"ACCOUNTS_FILE": accounts})
    # The process under test is the verb's: what a web process logs is none of its output.
    logging.getLogger().handlers[:] = handlers
    operator.capture.readouterr()
    yield built
    built.store.client.connection_pool.disconnect()


def test_answered_canary_prints_its_round_trip_and_leaves_the_schedulers_alone(
    operator: Operator, runtime: Runtime, client: redis.Redis
) -> None:
    schedulers: Any = {b"message_id": b"m1", b"posted_ms": b"1"}
    client.hset(CANARY, mapping=schedulers)
    with served(runtime) as url, working(runtime):
        read = operator("canary", "--url", url, "--json")
        told = operator("canary", CANARY_URL=f"{url}/")

    assert (read.status, told.status, told.err) == (0, 0, "")
    assert read.json["round_trip_ms"] > 0
    same = {"message_id": "", "round_trip_ms": 0}
    assert read.json | same == {"ok": True, "url": url, "step": ""} | same
    assert told.out.startswith("Answered after ")
    assert client.hgetall(CANARY) == schedulers


@pytest.mark.parametrize(
    ("changes", "url", "step"),
    [
        pytest.param({}, "", "append: open, and not collected: look at scheduler", id="open"),
        pytest.param(
            {"REDIS_URL": ELSEWHERE},
            "",
            "the ledger in our REDIS_URL does not have it: is the web on another Redis?",
            id="in another Redis",
        ),
        pytest.param(
            {"REDIS_URL": ELSEWHERE, "PRIVACY_KEY": "of-another-installation"},
            "",
            "webhook: HTTP 401: look at",
            id="of another installation",
        ),
        pytest.param(
            {},
            "http://127.0.0.1:1",
            "webhook: no answer (unreachable: ConnectError): look at",
            id="unreachable",
        ),
    ],
)
def test_unanswered_canary_is_printed_with_where_it_was_last_seen(
    operator: Operator,
    runtime: Runtime,
    valkey: ValkeyServer,
    changes: dict[str, str],
    url: str,
    step: str,
) -> None:
    """One that was refused is not waited for: neither has --wait-ms."""
    changes = {name: value.replace(ELSEWHERE, valkey.url(2)) for name, value in changes.items()}
    wait = () if step.startswith("webhook") else ("--wait-ms", "1")
    with served(runtime) as served_at:
        url = url or served_at
        told = operator("canary", "--url", url, *wait, **changes)
        read = operator("canary", "--url", url, *wait, "--json", **changes)

    assert (told.status, read.status) == (1, 1)
    assert told.out.startswith(f"NOT answered, through {url}; last seen: {step}")
    assert read.json["step"].startswith(step)
    assert (read.json["ok"], read.json["round_trip_ms"]) == (False, None)
