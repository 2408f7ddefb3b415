"""The operator's verbs that look at settings, Redis and the fleet."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from batching.keys import FLEET, META
from batching.store import Store
from runtime.settings import DEVELOPMENT_PRIVACY_KEY
from tests.cli.conftest import Answer, Operator
from tests.valkey_server import ValkeyServer

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60
STRONG = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
ACCOUNTS = """
[[account]]
id = "salon-1"
channel = "venom"
api_url = "http://127.0.0.1:9/"
token_env = "GATEWAY_TOKEN"
webhook_secret_env = "GATEWAY_SECRET"
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
[account.model]
provider = "scripted"
"""


@pytest.fixture
def environ(valkey: ValkeyServer, client: redis.Redis, tmp_path: Path) -> dict[str, str]:
    client.flushall()
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    (tmp_path / "prompt.md").write_text("A haircut: 35 euro.\n")
    return {
        "PATH": "/usr/bin:/bin",
        "REDIS_URL": valkey.url(0),
        "BROKER_URL": valkey.url(1),
        "ACCOUNTS_FILE": "accounts.toml",
        "GATEWAY_TOKEN": "value-of-gateway-token",
        "GATEWAY_SECRET": "value-of-gateway-secret",
    }


def findings(done: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done.json["findings"]
    return found


def mistakes(done: Answer) -> list[dict[str, Any]]:
    return [found for found in findings(done) if found["level"] == "mistake"]


def test_check_of_a_good_installation_is_ready_to_start(operator: Operator) -> None:
    done = operator("check")

    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "ok      settings: are valid"
    assert lines[1] == (
        "ok      account salon-1: answers by scripted on venom, prompt of 20 characters"
    )
    assert "ok      BROKER_URL: is another database than REDIS_URL" in lines
    assert lines[-1] == "Ready to start."


def test_check_foretells_the_fingerprint_and_the_ledger_of_the_processes(
    operator: Operator, environ: dict[str, str], tmp_path: Path
) -> None:
    """A playbook compares what hosts would run with, before anything is switched."""
    before = operator("check", "--json").json
    process = subprocess.run(
        [sys.executable, "-c", "from runtime.build import build; build('worker')"],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    started = json.loads(process.stdout.splitlines()[0])
    after = operator("check", "--json").json
    said = operator("check").out.splitlines()

    where = {"redis_run_id": started["redis_run_id"], "redis_db": started["redis_db"]}
    assert before["ledger"] == {"id": ""} | where
    assert after["ledger"] == {"id": started["ledger_id"]} | where
    assert before["fingerprint"] == after["fingerprint"] == started["fingerprint"]
    assert any(line.startswith(f"ok      fingerprint: {started['fingerprint']},") for line in said)
    assert f"ok      identity: the ledger is {started['ledger_id']}" in said


def test_check_without_a_redis_names_no_ledger(operator: Operator) -> None:
    """Nor a fingerprint where accounts have mistakes: no process will ever show one."""
    read = operator("check", "--json", REDIS_URL="redis://127.0.0.1:1/0", GATEWAY_TOKEN="").json

    assert read["ledger"] == {"id": "", "redis_run_id": "", "redis_db": 0}
    assert (read["ok"], read["fingerprint"]) == (False, "")


def test_check_makes_no_ledger(operator: Operator, client: redis.Redis) -> None:
    """One made by a check would hold its number of shards against the first real start."""
    done = operator("check", "--json")

    assert {"level": "ok", "about": "ledger", "says": "is new: the first process will make it",
            "advice": ""} in findings(done)  # fmt: skip
    assert client.exists(META) == 0


def test_check_tells_all_mistakes_of_settings_and_accounts(operator: Operator) -> None:
    done = operator("check", BATCH_LEASE_MS="500", BATCH_IDEL_MS="1", GATEWAY_TOKEN="")

    assert done.status == 1
    assert done.out.splitlines() == [
        "MISTAKE settings: BATCH_IDEL_MS: is not a setting; did you mean BATCH_IDLE_MS?",
        "MISTAKE settings: BATCH_LEASE_MS=500: must be 1000..600000",
        (
            "MISTAKE accounts: accounts.toml: account salon-1: token_env=GATEWAY_TOKEN: "
            "this environment variable is not set"
        ),
        "Mistakes: 3. Processes will not start like this.",
    ]


def test_check_finds_two_databases_that_are_one(operator: Operator, valkey: ValkeyServer) -> None:
    done = operator("check", "--json", BROKER_URL=f"unix://{valkey.socket}")

    assert done.status == 1
    assert [(found["about"], found["says"]) for found in mistakes(done)] == [
        ("BROKER_URL", "is the same database as REDIS_URL")
    ]


def test_check_finds_a_ledger_of_another_form(operator: Operator, client: redis.Redis) -> None:
    Store(client, privacy_key="k", shards=2).open()

    done = operator("check", "--json")

    assert done.status == 1
    (mistake,) = mistakes(done)
    assert mistake["says"] == "shards=1: this ledger was made with shards=2"
    assert "BATCH_SHARDS" in mistake["advice"]


def test_check_of_an_absent_redis_says_what_to_do(operator: Operator) -> None:
    done = operator("check", REDIS_URL="redis://:a-password@127.0.0.1:1/0")

    assert done.status == 1
    assert "MISTAKE REDIS_URL: does not answer (ConnectionError)" in done.out
    assert "start the server, or correct the address" in done.out
    assert "a-password" not in done.out


def test_check_of_an_absent_rabbitmq_says_what_to_do(operator: Operator) -> None:
    done = operator("check", BROKER_URL="amqp://user:a-password@127.0.0.1:1/")

    assert done.status == 1
    assert "MISTAKE BROKER_URL: nothing listens at 127.0.0.1:1" in done.out
    assert "a-password" not in done.out


def test_check_in_production_demands_a_server_that_keeps(
    operator: Operator, durable: ValkeyServer
) -> None:
    production = {"ENVIRONMENT": "production", "PRIVACY_KEY": STRONG}
    forgetful = operator("check", **production)
    kept = operator("check", **production, REDIS_URL=durable.url(0), BROKER_URL=durable.url(1))

    assert forgetful.status == 1
    assert "MISTAKE REDIS_URL: appendonly=no: must be yes" in forgetful.out
    assert kept.status == 0
    assert "warning SENTRY_DSN: is not set" in kept.out
    assert "ok      REDIS_URL: appendonly is yes" in kept.out


def test_check_reads_the_env_file_under_the_environment(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BATCH_IDLE_MS=50\nBATCH_WAKE_UP_MS=1\nCOLOUR=red\n")

    done = operator("check", BATCH_WAKE_UP_MS="10000")

    assert done.status == 1
    assert done.out.splitlines()[0] == ("MISTAKE settings: BATCH_IDLE_MS=50: must be 100..600000")
    assert "BATCH_WAKE_UP_MS" not in done.out


def test_check_warns_of_the_former_name_of_a_setting(operator: Operator) -> None:
    done = operator("check", BATCH_RING_MS="9000")

    assert done.status == 0
    assert (
        "warning BATCH_RING_MS: is now called BATCH_WAKE_UP_MS; the former name still works"
        in done.out.splitlines()
    )


def test_counters_of_a_new_ledger_add_up(operator: Operator) -> None:
    done = operator("balance")

    assert done.status == 0
    assert done.out.splitlines()[-1] == ("Every accepted message is accounted for.")


@pytest.mark.parametrize(
    ("stats", "words"),
    [
        ({"accepted": 3, "answered": 2}, "The counters do not add up in shard 0"),
        ({"accepted": 2, "lost": 2}, "Lost: 2."),
    ],
)
def test_counters_that_do_not_add_up_fail(
    operator: Operator, store: Store, stats: dict[Any, Any], words: str
) -> None:
    store.client.hset(store.keyring.shards[0].stats, mapping=stats)

    done = operator("balance")
    told = operator("balance", "--json").json

    assert done.status == 1
    assert words in done.out
    assert told["shards"][0]["accepted"] == stats["accepted"]
    assert told["holds"] is (stats.get("lost", 0) > 0)


def test_fleet_without_processes_names_the_missing_roles(operator: Operator) -> None:
    done = operator("fleet")

    assert done.status == 1
    assert [line.split(" is ")[0] for line in done.out.splitlines()] == [
        "no web",
        "no worker",
        "no scheduler",
    ]


SILENT: dict[str, str | int] = {
    "role": "web",
    "host": "host-1",
    "pid": 7,
    "release": "r1",
    "fingerprint": "f1",
    "scripts": "s1",
    "started_ms": 1,
    "heartbeat_ms": 1,
    "ledger_id": "l1",
}


def announce_all(client: redis.Redis) -> None:
    """Have every role alive, on settings and a release that they agree on."""
    told: Any = client.time()
    for role in ("web", "worker", "scheduler"):
        member = SILENT | {"role": role, "heartbeat_ms": told[0] * 1000}
        client.hset(FLEET, f"{role}:host-1:7", json.dumps(member))


def test_fleet_that_agrees_is_listed(operator: Operator, client: redis.Redis) -> None:
    announce_all(client)

    done = operator("fleet")
    members = operator("fleet", "--json").json["members"]

    assert done.status == 0
    assert done.out.splitlines() == [
        "scheduler:host-1:7  release r1  settings f1  alive",
        "web:host-1:7  release r1  settings f1  alive",
        "worker:host-1:7  release r1  settings f1  alive",
        "3 processes agree.",
    ]
    assert [(member["role"], member["is_alive"]) for member in members] == [
        ("scheduler", True),
        ("web", True),
        ("worker", True),
    ]


def test_process_that_fell_silent_is_not_alive(operator: Operator, client: redis.Redis) -> None:
    """A playbook waits for those that are alive, and a killed one stays listed for a minute."""
    announce_all(client)
    client.hset(FLEET, "web:host-1:7", json.dumps(SILENT))

    members = operator("fleet", "--json").json["members"]

    (web,) = (member for member in members if member["role"] == "web")
    assert web["silent_ms"] > 15_000
    assert web | {"silent_ms": 0} == SILENT | {
        "silent_ms": 0,
        "is_alive": False,
        "redis_run_id": "",
        "redis_db": 0,
    }


@pytest.fixture
def running(environ: dict[str, str], client: redis.Redis) -> Store:  # noqa: ARG001 - emptied by it
    """Return the ledger of an installation that is all alive."""
    store = Store(client, privacy_key=DEVELOPMENT_PRIVACY_KEY)
    store.open()
    announce_all(client)
    for shard in store.keyring.all_shards:
        store.collect(shard, limit=1)
    return store


@pytest.mark.usefixtures("running")
def test_doctor_of_a_healthy_installation_says_all_is_well(operator: Operator) -> None:
    done = operator("doctor")

    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[-1] == "All is well."
    assert "ok      roles: web, worker, scheduler are alive in this Redis" in lines
    assert "ok      fleet: 3 processes agree" in lines
    assert "ok      books: every accepted message is accounted for" in lines


def test_doctor_says_what_to_do_where_a_person_must_act(operator: Operator, running: Store) -> None:
    (shard,) = running.keyring.shards
    running.client.hincrby(shard.stats, "accepted", 3)
    running.client.set(shard.stopped("salon-1"), "gateway_401")

    done = operator("doctor")
    told = mistakes(operator("doctor", "--json"))

    assert done.status == 1
    assert done.out.splitlines()[-1] == "Mistakes: 2. A person must act."
    assert [found["about"] for found in told] == ["books", "accounts"]
    assert all(found["advice"] for found in told)
    assert told[1]["says"] == "salon-1 cannot send: gateway_401"


@pytest.mark.usefixtures("running")
def test_doctor_names_a_broker_that_is_away(operator: Operator) -> None:
    done = operator("doctor", BROKER_URL="redis://127.0.0.1:1/1")

    assert done.status == 1
    assert "MISTAKE BROKER_URL: does not answer (ConnectionError)" in done.out


def test_doctor_in_the_wrong_redis_says_so_and_makes_nothing(
    operator: Operator, client: redis.Redis
) -> None:
    done = operator("doctor")

    assert done.status == 1
    assert "MISTAKE identity: no ledger is in this Redis" in done.out
    assert client.exists(META) == client.exists("{aa1.0}:alerts") == 0


def test_doctor_without_redis_tells_that_alone(operator: Operator) -> None:
    done = operator("doctor", "--json", REDIS_URL="redis://127.0.0.1:1/0")

    assert (done.status, done.err) == (1, "")
    assert [found["says"] for found in findings(done)] == ["does not answer (ConnectionError)"]


@pytest.mark.parametrize("verb", ["balance", "fleet"])
def test_verb_without_redis_fails_in_plain_words(operator: Operator, verb: str) -> None:
    done = operator(verb, REDIS_URL="redis://127.0.0.1:1/0")

    assert (done.status, done.out) == (1, "")
    assert done.err == "REDIS_URL: does not answer (ConnectionError)\n"


@pytest.mark.parametrize("verb", ["balance", "doctor", "fleet"])
def test_verb_with_mistaken_settings_names_them(operator: Operator, verb: str) -> None:
    done = operator(verb, BATCH_SHARDS="0")

    assert (done.status, done.err) == (1, "BATCH_SHARDS=0: must be 1..1024\n")


def test_unknown_verb_is_wrong_usage(operator: Operator) -> None:
    assert operator("frobnicate").status == 2


def test_model_is_switched_off_and_on_without_a_deploy(
    operator: Operator, client: redis.Redis
) -> None:
    states = [operator("model", *given) for given in ((), ("off",), ("--json",), ("on",))]

    assert [done.status for done in states] == [0, 0, 0, 0]
    assert [done.out.splitlines()[0] for done in (states[0], states[1], states[3])] == [
        "The model is on.",
        "The model is off: batches wait, and nothing is lost, until their deadline.",
        "The model is on.",
    ]
    assert states[2].json == {"on": False, "asked": 0, "budget": 10_000}
    assert client.keys("*model_off*") == []


def test_model_has_no_other_state(operator: Operator) -> None:
    assert operator("model", "maybe").status == 2
