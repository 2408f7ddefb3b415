import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from batching.errors import ConfigurationError
from canary.channel import CanarySink
from channels.outbound import HttpChannel
from channels.simulator import Simulator
from llm.anthropic import Anthropic
from llm.guard import Guarded
from llm.markdown import Formatted
from llm.openai_compatible import OpenAICompatible
from llm.scripted import Scripted
from runtime import build as building
from runtime.build import EXIT_CANNOT_START, build, build_or_exit
from runtime.clients import Role
from runtime.fleet import drift, members
from tests.runtime.conftest import SECRETS
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually


@pytest.fixture
def environ(valkey: ValkeyServer, client: redis.Redis, accounts_file: Path) -> dict[str, str]:
    client.flushall()
    return SECRETS | {
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": valkey.url(1),
        "ACCOUNTS_FILE": str(accounts_file),
        "RELEASE": "r1",
    }


@pytest.mark.parametrize("change", [{}, {"BATCH_IDLE_MS": "8000"}], ids=str)
def test_process_with_other_settings_is_seen(
    environ: dict[str, str], change: dict[str, str]
) -> None:
    """Origin fault 13: processes with different settings, unnoticed."""
    web, worker = build("web", environ | change), build("worker", environ)
    web.fleet.beat()
    worker.fleet.beat()

    found = members(web.store.client)

    assert [(it.role, it.fingerprint, it.ledger_id) for it in found] == [
        ("web", web.fingerprint, web.fleet.ledger_id),
        ("worker", worker.fingerprint, web.fleet.ledger_id),
    ]
    assert len(drift(found, 0)) == len(change)


#: Role → names of the accounts' secrets that it needs.
OWN: dict[Role, set[str]] = {
    "web": {"SALON_APP_SECRET", "SALON_NEXT_APP_SECRET", "SALON_VERIFY_TOKEN", "GATEWAY_SECRET"},
    "worker": {"SALON_TOKEN", "GATEWAY_TOKEN", "MODEL_KEY"},
    "scheduler": set(),
    "manage": set(SECRETS),
}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("role", OWN)
def test_stale_secret_is_seen_where_it_is_used(
    environ: dict[str, str],
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    role: Role,
    name: str,
) -> None:
    """A web process and a worker have none in common, and cannot differ in one."""
    for number, (one, given) in enumerate([(role, {name: "another"}), *((it, {}) for it in OWN)]):
        monkeypatch.setattr("os.getpid", lambda number=number: number)
        build(one, environ | given).fleet.beat()

    found = drift(members(client), 0)

    assert len(found) == (name in OWN[role])


@pytest.mark.parametrize("role", OWN)
def test_process_keeps_the_secrets_of_its_role_alone(environ: dict[str, str], role: Role) -> None:
    """Though all are in its environment, as in an installation by hand."""
    runtime = build(role, environ)

    held = [{**it.secrets, **dict.fromkeys(it.webhook_secrets)} for it in runtime.accounts]
    values = {word for it in held for pair in it.items() for word in pair if word}

    assert values & set(SECRETS.values()) == {SECRETS[name] for name in OWN[role]}


@pytest.mark.parametrize("role", OWN)
def test_process_starts_without_the_secrets_of_others_and_not_without_its_own(
    environ: dict[str, str], role: Role
) -> None:
    given = {name: it for name, it in environ.items() if name not in set(SECRETS) - OWN[role]}

    assert build(role, given).fingerprint == build("manage", environ).fingerprint
    for name in OWN[role]:
        with pytest.raises(ConfigurationError, match=f"{name}: this environment variable is not"):
            build(role, given | {name: ""})


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"PRIVACY_KEY": "another"}, "privacy_key"), ({"BATCH_SHARDS": "4"}, "made with shards=1")],
)
def test_process_refuses_a_ledger_of_another_form(
    environ: dict[str, str], change: dict[str, str], problem: str
) -> None:
    """With another key it would take every customer of this ledger for a stranger."""
    build("worker", environ)

    with pytest.raises(ConfigurationError, match=problem):
        build("web", environ | change)


def test_every_account_gets_its_channel_and_its_model_behind_the_guard(
    environ: dict[str, str],
) -> None:
    accounts: Any = build("worker", environ).accounts

    built = [accounts.get(config.account_id) for config in accounts]

    assert {(type(it.model), type(it.model.model)) for it in built} == {(Guarded, Formatted)}
    assert [
        (type(it.channel), type(it.model.model.model), it.ambiguous, it.limits.idle_ms)
        for it in built
    ] == [
        (HttpChannel, OpenAICompatible, "alert", 4_000),
        (HttpChannel, Anthropic, "resend", 9_000),
        (Simulator, Scripted, "alert", 9_000),
        (CanarySink, Scripted, "alert", 500),
    ]


def test_start_is_logged_with_what_tells_two_processes_apart(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = build("web", environ | {"BATCH_RING_MS": "9000"})

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    renamed, line = [line for line in lines if line["event"] != "account.exposed"]
    assert (line["event"], line["role"], line["release"]) == ("process.started", "web", "r1")
    assert line["fingerprint"] == runtime.fingerprint
    assert line["ledger_id"] == runtime.fleet.ledger_id
    assert len(line["redis_run_id"]) == 40
    assert (line["redis_db"], line["limits"]["idle_ms"]) == (0, 9_000)
    assert set(line["counts"].values()) == {0}
    assert (renamed["event"], renamed["former"]) == ("setting.renamed", "BATCH_RING_MS")
    assert renamed["setting"] == "BATCH_WAKE_UP_MS"


def test_nothing_of_the_environment_is_shown_by_repr(environ: dict[str, str]) -> None:
    runtime = build("web", environ | {"PRIVACY_KEY": "value-of-privacy-key"})

    assert "value-of" not in repr(runtime)


def test_process_that_must_sync_refuses_a_server_that_cannot(
    environ: dict[str, str], durable: ValkeyServer
) -> None:
    always = environ | {"BATCH_DURABILITY": "always"}

    with pytest.raises(ConfigurationError, match="this server cannot wait for its disk"):
        build("web", always)

    synced = build("web", always | {"REDIS_URL": durable.url(0), "BROKER_URL": durable.url(1)})
    assert synced.store.synced


@pytest.mark.parametrize("command", ["time", "hsetnx", "hgetall", "zcount", "xlen"])
def test_process_waits_for_its_ledger_whatever_it_is_just_asking(
    environ: dict[str, str], other_valkey: ValkeyServer, command: str
) -> None:
    """A Redis may go away and come back between any two steps of a start."""
    other_valkey.start()
    addresses = {"REDIS_URL": other_valkey.url(0), "BROKER_URL": other_valkey.url(1)}
    with other_valkey.client() as client, ThreadPoolExecutor() as pool:
        client.acl_setuser("default", enabled=True, commands=[f"-{command}"])

        def refused_once() -> bool:
            entries: Any = client.acl_log()
            return any(entry["object"] == command for entry in entries)

        starting = pool.submit(build, "web", environ | addresses)
        eventually(refused_once, what=f"{command} to be refused")
        client.acl_setuser("default", enabled=True, commands=[f"+{command}"])

        runtime = starting.result()
        assert runtime.fleet.ledger_id == runtime.store.ledger_id()


NOTHING_THERE = "does not answer: nothing listens there (ConnectionError)"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"BATCH_SHARDS": "0", "BATCH_IDLE_MS": "1"},
            "BATCH_IDLE_MS=1: must be 100..600000\nBATCH_SHARDS=0: must be 1..1024\n",
        ),
        (
            {"REDIS_URL": "redis://:a-password@127.0.0.1:1/0"},
            f"REDIS_URL: {NOTHING_THERE}; start the server, or correct the address\n",
        ),
    ],
)
def test_process_that_cannot_start_says_why_and_ends(
    environ: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    expected: str,
) -> None:
    """Without its ledger it cannot know the ledger's form, and must not write into it."""
    monkeypatch.setattr(building, "LEDGER_WAIT_S", 0)
    for name, value in (environ | change).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as caught:
        build_or_exit("web")

    assert caught.value.code == EXIT_CANNOT_START
    assert capsys.readouterr().err == expected
