"""``check`` before a start, and ``doctor`` in the running installation."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from batching.keys import META
from batching.model import Dependency
from batching.store import SCRIPTS, SCRIPTS_MISSING, Store
from runtime.settings import DEVELOPMENT_PRIVACY_KEY
from tests.cli.conftest import ACCOUNTS as SIMULATED
from tests.cli.conftest import Answer, Operator, announce_all
from tests.valkey_server import ValkeyServer

STRONG = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SECRET = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
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


REAL = "is not for real numbers, such as account salon-1"
PUBLIC = (
    "PRIVACY_KEY: is the public one, not for real numbers, such as account salon-1; "
    "while no message waits, set what this prints: openssl rand -hex 32"
)


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Return the environment of an installation with a real number, and nothing to warn of."""
    (tmp_path / "accounts.toml").write_text(ACCOUNTS)
    (tmp_path / "accounts.toml").chmod(0o640)
    return environ | {
        "ENVIRONMENT": "staging",
        "PRIVACY_KEY": STRONG,
        "GATEWAY_TOKEN": "value-of-token",
        "GATEWAY_SECRET": SECRET,
    }


@pytest.fixture
def running(environ: dict[str, str], client: redis.Redis) -> Store:  # noqa: ARG001 - emptied by it
    """Return the ledger of an installation that is all alive."""
    store = Store(client, privacy_key=STRONG)
    store.open()
    announce_all(client)
    for shard in store.keyring.all_shards:
        store.collect(shard, limit=1)
    return store


def mistakes(done: Answer) -> list[dict[str, Any]]:
    return [found for found in done.json["findings"] if found["level"] == "mistake"]


def warnings(lines: list[str]) -> str:
    """Return how the first line counts the others."""
    return f"Warnings: {sum(line.startswith('warning') for line in lines)}."


def test_check_of_a_good_installation_is_ready_to_start(operator: Operator) -> None:
    done = operator("check")

    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"Ready to start. {warnings(lines)}"
    assert lines[1] == "ok      settings: are valid"
    assert lines[2] == (
        "ok      account salon-1: answers by scripted on venom, prompt of 20 characters"
    )
    assert "ok      BROKER_URL: is another database than REDIS_URL" in lines


def test_check_brings_the_scripts_for_processes_that_may_not_load_them(
    operator: Operator, client: redis.Redis
) -> None:
    client.script_flush()

    assert "ok      scripts: are in Redis" in operator("check").out.splitlines()
    digests = [script.digest for script in SCRIPTS.values()]
    assert client.script_exists(*digests) == [True] * len(digests)


def test_check_by_a_user_who_may_not_load_scripts_says_so(
    operator: Operator, client: redis.Redis, valkey: ValkeyServer
) -> None:
    client.script_flush()
    client.execute_command("ACL", "SETUSER", "web", "on", ">pass", "~*", "+@all", "-script|load")

    try:
        done = operator("check", REDIS_URL=valkey.url(0).replace("//", "//web:pass@"))
    finally:
        client.execute_command("ACL", "DELUSER", "web")

    assert done.status == 1
    assert f"MISTAKE scripts: {SCRIPTS_MISSING}" in done.out.splitlines()


def test_check_knows_the_fingerprint_and_the_ledger_of_the_processes(
    operator: Operator,
) -> None:
    """A playbook compares what hosts would run with, before anything is switched."""
    before = operator("check", "--json").json
    started = operator.starting()[0]
    after = operator("check", "--json").json
    said = operator("check").out.splitlines()

    where = {"redis_run_id": started["redis_run_id"], "redis_db": started["redis_db"]}
    assert before["ledger"] == {"id": ""} | where
    assert after["ledger"] == {"id": started["ledger_id"]} | where
    assert before["fingerprint"] == after["fingerprint"] == started["fingerprint"]
    assert any(line.startswith(f"ok      fingerprint: {started['fingerprint']},") for line in said)
    assert f"ok      identity: the ledger is {started['ledger_id']}" in said


def test_check_knows_whether_hosts_have_the_same_secrets(operator: Operator) -> None:
    """They are no part of the fingerprint, because not every role has them all."""
    before = operator("check", "--json").json
    changed = [
        operator("check", "--json", **{name: f"{name}{SECRET}"}).json
        for name in ("GATEWAY_TOKEN", "GATEWAY_SECRET")
    ]

    assert {it["fingerprint"] for it in changed} == {before["fingerprint"]}
    assert len({it["secrets"] for it in [before, *changed]}) == 3


def test_variables_are_named_without_their_values(operator: Operator) -> None:
    """A playbook asks before it has given anybody a secret."""
    said = operator("variables", "--json").json
    unset = operator("variables", GATEWAY_TOKEN="", GATEWAY_SECRET="", PRIVACY_KEY="")

    assert [("GATEWAY_SECRET" in it, "GATEWAY_TOKEN" in it) for it in said.values()] == [
        *((True, False), (False, True), (False, False), (True, True))
    ]
    assert unset.status == 0
    assert unset.out.splitlines() == [f"{role}: {', '.join(it)}" for role, it in said.items()]


def test_check_without_a_redis_names_no_ledger(operator: Operator) -> None:
    """Nor a fingerprint where accounts have mistakes: no process will ever show one."""
    read = operator("check", "--json", REDIS_URL="redis://127.0.0.1:1/0", GATEWAY_TOKEN="").json

    assert read["ledger"] == {"id": "", "redis_run_id": "", "redis_db": 0}
    assert (read["ok"], read["fingerprint"]) == (False, "")


def test_check_makes_no_ledger(operator: Operator, client: redis.Redis) -> None:
    """One made by a check would hold its number of shards against the first real start."""
    done = operator("check")

    assert "ok      ledger: is new: the first process will make it" in done.out.splitlines()
    assert client.exists(META) == 0


def test_check_prints_all_mistakes_of_settings_and_accounts(operator: Operator) -> None:
    done = operator("check", BATCH_LEASE_MS="500", BATCH_IDEL_MS="1", GATEWAY_TOKEN="")

    assert done.status == 1
    assert done.out.splitlines() == [
        "Processes will not start like this. Mistakes: 3.",
        "MISTAKE settings: BATCH_IDEL_MS: is not a setting; did you mean BATCH_IDLE_MS?",
        "MISTAKE settings: BATCH_LEASE_MS=500: must be 1000..600000",
        (
            "MISTAKE accounts: accounts.toml: account salon-1: token_env=GATEWAY_TOKEN: "
            "this environment variable is not set"
        ),
    ]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"ENVIRONMENT": "development"},
            [f"ENVIRONMENT=development: {REAL}: set ENVIRONMENT=production"],
        ),
        (
            {"ENVIRONMENT": "test", "PRIVACY_KEY": ""},
            [f"ENVIRONMENT=test: {REAL}: set ENVIRONMENT=production", PUBLIC],
        ),
        ({"PRIVACY_KEY": DEVELOPMENT_PRIVACY_KEY}, [PUBLIC]),
    ],
    ids=["development", "test", "the public key"],
)
def test_check_refuses_a_real_number_where_things_are_tried(
    operator: Operator, changes: dict[str, str], lines: list[str]
) -> None:
    done = operator("check", **changes)
    started = operator.starting(**changes)

    assert done.status == 1
    assert [line for line in done.out.splitlines() if line.startswith("MISTAKE")] == [
        f"MISTAKE safety: {line}" for line in lines
    ]
    warned = [line for line in started if line["event"] == "account.exposed"]
    assert [line["level"] for line in warned] == ["WARNING"] * len(lines)
    assert [line["setting"] for line in warned] == [re.split("[=:]", line)[0] for line in lines]


def test_check_lets_numbers_that_only_the_simulator_has_run_anywhere(
    operator: Operator, tmp_path: Path
) -> None:
    (tmp_path / "accounts.toml").write_text(SIMULATED.format(name="salon"))

    assert operator("check", ENVIRONMENT="development", PRIVACY_KEY="").status == 0


def test_check_refuses_in_production_what_it_warns_of_in_staging(operator: Operator) -> None:
    staged = operator("check", GATEWAY_SECRET="1")
    refused = operator("check", GATEWAY_SECRET="1", ENVIRONMENT="production")

    line = "safety: webhook_secret_env=GATEWAY_SECRET: has 1 characters: must be at least 32; or "
    assert staged.status == 0
    assert f"warning {line}" in staged.out
    assert refused.status == 1
    assert f"MISTAKE {line}" in refused.out


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize(
    "url", ["http://user:PASS/WORD@proxy.example:1", "odd://user:PASSWORD@proxy.example"]
)
def test_check_names_a_proxy_that_is_none_without_its_password(
    operator: Operator, name: str, url: str
) -> None:
    checked = operator("check", **{name: url})
    called = operator("canary", "--url", "http://127.0.0.1:9", **{name: url})

    wrong = "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY: must be an address such as http://HOST:PORT"
    assert f"MISTAKE proxy: {wrong}" in checked.out.splitlines()
    assert called.err == f"{wrong}\n"
    for done in (checked, called):
        assert not re.search("PASS|WORD", done.out + done.err)


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


ABSENT = ":a-password@127.0.0.1:1/"


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("verb", "setting", "value", "says", "advice"),
    [
        (
            *("check", "REDIS_URL", f"redis://{ABSENT}0"),
            *(
                "does not answer: nothing listens there (ConnectionError)",
                "start the server, or correct the address",
            ),
        ),
        (
            *("check", "BROKER_URL", f"amqp://user{ABSENT}", "nothing listens at 127.0.0.1:1 "),
            "start RabbitMQ, or correct the address",
        ),
        (
            *(
                "doctor",
                "BROKER_URL",
                f"redis://{ABSENT}1",
                "does not answer: nothing listens there (ConnectionError)",
            ),
            "start the server, or correct the address; until then nothing is answered",
        ),
        ("check", "BATCH_RING_MS", "9000", "is now called BATCH_WAKE_UP_MS; ", "rename it"),
        ("check", "TRIAL", "1", "is for processes on trial: ", "take it out of the settings"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    operator: Operator, verb: str, setting: str, value: str, says: str, advice: str
) -> None:
    done = operator(verb, **{setting: value})
    found = operator(verb, "--json", **{setting: value}).json["findings"]

    (wrong,) = (it for it in found if it["about"] == setting and it["level"] != "ok")
    assert wrong["says"].startswith(says)
    assert wrong["advice"] == advice
    assert done.status == (1 if wrong["level"] == "mistake" else 0)
    assert f": {wrong['says']}\n          {advice}\n" in done.out
    assert "a-password" not in done.out


@pytest.mark.parametrize(
    ("changes", "mistake", "fine"),
    [
        (
            {"ENVIRONMENT": "production"},
            "REDIS_URL: appendonly=no: must be yes",
            "REDIS_URL: appendonly is yes",
        ),
        (
            {"BATCH_DURABILITY": "always"},
            "BATCH_DURABILITY: always: this server cannot wait for its disk",
            "BATCH_DURABILITY: always: the server tells when a write is safe",
        ),
    ],
    ids=["production", "always"],
)
def test_check_demands_a_server_that_keeps_what_it_must(
    operator: Operator, durable: ValkeyServer, changes: dict[str, str], mistake: str, fine: str
) -> None:
    forgetful = operator("check", **changes)
    kept = operator("check", **changes, REDIS_URL=durable.url(0), BROKER_URL=durable.url(1))

    assert (forgetful.status, kept.status) == (1, 0)
    assert f"MISTAKE {mistake}" in forgetful.out
    assert f"ok      {fine}" in kept.out
    for setting in ("SENTRY_DSN", "CONSOLE_TOKEN"):
        assert (f"warning {setting}: is not set" in kept.out) == ("ENVIRONMENT" in changes)


def test_check_reads_the_env_file_under_the_environment(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BATCH_IDLE_MS=50\nBATCH_WAKE_UP_MS=1\nCOLOUR=red\n")

    done = operator("check", BATCH_WAKE_UP_MS="10000")

    assert done.status == 1
    assert done.out.splitlines()[1] == ("MISTAKE settings: BATCH_IDLE_MS=50: must be 100..600000")
    assert "BATCH_WAKE_UP_MS" not in done.out


@pytest.mark.usefixtures("running")
def test_doctor_of_a_healthy_installation_says_all_is_well(operator: Operator) -> None:
    done = operator("doctor")

    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"All is well. {warnings(lines)}"
    assert "ok      roles: web, worker, scheduler are alive in this Redis" in lines
    assert "ok      fleet: 3 processes agree" in lines
    assert "ok      books: every accepted message is accounted for" in lines


def test_doctor_says_what_to_do_where_a_person_must_act(operator: Operator, running: Store) -> None:
    (shard,) = running.keyring.shards
    running.client.hincrby(shard.stats, "accepted", 3)
    running.open_circuit("salon-1", Dependency.CHANNEL, "gateway_401")

    done = operator("doctor")
    told = mistakes(operator("doctor", "--json"))

    assert done.status == 1
    lines = done.out.splitlines()
    assert lines[0] == f"A person must act. Mistakes: 2. {warnings(lines)}"
    assert [found["about"] for found in told] == ["books", "accounts"]
    assert all(found["advice"] for found in told)
    assert told[1]["says"] == "salon-1 cannot send: gateway_401"


def test_doctor_in_the_wrong_redis_says_so_and_makes_nothing(
    operator: Operator, client: redis.Redis
) -> None:
    done = operator("doctor")

    assert done.status == 1
    assert "MISTAKE identity: no ledger is in this Redis yet" in done.out
    assert "start the processes" in done.out
    assert "emptied" not in done.out
    assert client.exists(META) == client.exists("{aa1.0}:alerts") == 0


def test_doctor_without_redis_says_only_that(operator: Operator) -> None:
    done = operator("doctor", "--json", REDIS_URL="redis://127.0.0.1:1/0")

    assert (done.status, done.err) == (1, "")
    assert [found["says"] for found in done.json["findings"]] == [
        "does not answer: nothing listens there (ConnectionError)"
    ]


def test_check_refuses_traces_without_their_packages(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "runtime.otlp", None)

    done = operator("check", TRACES_URL="https://collector.example/v1/traces")

    assert done.status == 1
    assert "MISTAKE settings: TRACES_URL: needs the extra traces: pip install" in done.out
