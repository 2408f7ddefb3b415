"""What holds for every verb."""

import os
from typing import Any

import pytest

from tests.batching.world import ANNA, World
from tests.cli.conftest import Operator

CONVERSATION = "c_" + "0" * 24


@pytest.mark.parametrize(
    "arguments",
    [
        *(f"trace {CONVERSATION}", "trace id-1", f"erase {CONVERSATION} --yes"),
        *("dead list", "dead show b1", "dead replay b1", "dead discard b1 --yes"),
        *("alerts", "audit", "balance", "fleet", "model"),
    ],
)
def test_verb_without_redis_fails_in_plain_words(operator: Operator, arguments: str) -> None:
    answer = operator(*arguments.split(), REDIS_URL="redis://127.0.0.1:1/0")

    assert (answer.status, answer.out) == (1, "")
    assert answer.err == (
        "REDIS_URL: does not answer: nothing listens there (ConnectionError); "
        "start the server, or correct the address\n"
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:1/0"}, "ledger_away"),
        ({"BATCH_SHARDS": "0"}, "settings"),
        ({"ACCOUNTS_FILE": "missing.toml"}, "accounts"),
    ],
)
def test_program_gets_json_where_the_verb_cannot_run(
    operator: Operator, change: dict[str, str], code: str
) -> None:
    answer = operator("dead", "replay", "b1", "--json", **change)

    assert (answer.status, answer.err) == (1, "")
    assert (answer.json["ok"], answer.json["code"]) == (False, code)
    assert next(iter(change)) in answer.json["error"]


@pytest.mark.parametrize(("arguments", "status"), [("trace id-1", 1), ("dead --help", 0)])
def test_verb_ends_quietly_when_nobody_reads_on(
    operator: Operator, arguments: str, status: int
) -> None:
    """As in ``manage.py dead list | head -1``: its status tells what it found all the same."""
    reader, writer = os.pipe()
    os.close(reader)

    answer = operator.process(*arguments.split(), stdout=writer)

    os.close(writer)
    assert (answer.status, answer.err) == (status, "")


@pytest.mark.parametrize("verb", ["balance", "doctor", "fleet", "dead list"])
def test_verb_with_mistaken_settings_names_them(operator: Operator, verb: str) -> None:
    done = operator(*verb.split(), BATCH_SHARDS="0")

    assert (done.status, done.err) == (1, "BATCH_SHARDS=0: must be 1..1024\n")


@pytest.mark.parametrize("verb", ["balance", "audit", "alerts", "trace id-1"])
def test_ledger_of_another_form_is_refused(world: World, operator: Operator, verb: str) -> None:
    """With the wrong shards or key nothing would be found."""
    client: Any = world.store.client
    before = client.dbsize()

    answer = operator(*verb.split(), PRIVACY_KEY="another-key-than-the-ledger-was-made-with")

    assert (answer.status, answer.out) == (1, "")
    assert "this ledger was made with privacy_key=" in answer.err
    assert client.dbsize() == before


@pytest.mark.parametrize(
    "arguments",
    [
        *("frobnicate", "model maybe", "model on --custmer {ANNA}"),
        *("alerts --limit 0", "alerts --limit 1001", "alerts --limit many"),
        *("canary", "canary --url ftp://127.0.0.1", "canary --url http://{ANNA}@127.0.0.1"),
        *("canary --wait-ms 0", "canary --wait-ms 600001"),
        *("dead", "dead dead_letter", "dead show", "dead show {ANNA}", "dead discard"),
        *("dead discard {ANNA}", "dead replay", "dead replay b1 --all"),
        *("dead replay b1 --reason poison", "dead list --reason boredom"),
        *("erase --yes", "erase {ANNA} --yes", "erase {CONVERSATION} --customer {ANNA}"),
        *("erase --customer {ANNA}", "trace", "trace id-1 --customer {ANNA}", "trace id-1 {ANNA}"),
        *("trace --customer {ANNA}", "trace --customer {ANNA} --account {ANNA}"),
    ],
)
def test_wrong_usage_repeats_nothing_of_what_was_typed(operator: Operator, arguments: str) -> None:
    """No customer's number, which the operator asserts."""
    answer = operator(*arguments.format(ANNA=ANNA, CONVERSATION=CONVERSATION).split())

    assert (answer.status, answer.out) == (2, "")
