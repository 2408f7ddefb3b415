"""``audit`` and ``balance``: the counters, and what is really kept."""

from typing import Any

import pytest

from batching.erase import erase
from batching.errors import PermanentError
from tests.batching.world import ANNA, World
from tests.cli.conftest import CANARY, Operator
from tests.fakes import FakeModel


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the second scan."""
    monkeypatch.setattr("cli.status.AUDIT_PAUSE_S", 0)


def test_sound_ledger_agrees_with_its_counters(world: World, operator: Operator) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY)
    world.settle()
    world.to_sending(CANARY)
    world.write(CANARY)

    answer = operator("audit")
    read = operator("audit", "--json").json

    assert answer.status == 0
    assert answer.out.startswith("Checked 1 conversations and 1 dead letters in ")
    assert answer.out.endswith("The counters agree with what is kept.\n")
    assert (read["ok"], read["problems"], read["undecided"]) == (True, [], [])
    assert list(read) == ["ok", "took_ms", "conversations", "letters", "problems", "undecided"]


@pytest.mark.usefixtures("quick")
def test_contradiction_is_printed(world: World, operator: Operator) -> None:
    world.write(CANARY)
    stats = world.store.keyring.shards[0].stats
    world.store.client.hincrby(stats, "open", 2)

    answer = operator("audit")

    assert answer.status == 1
    assert answer.out.splitlines()[0] == "shard 0: open is 3 by the counters, 1 kept"
    assert operator("audit", "--json").json["ok"] is False
    world.store.client.hincrby(stats, "open", -2)


def test_balance_names_reasons(world: World, operator: Operator) -> None:
    world.model = FakeModel(PermanentError("model_auth"))
    world.write(CANARY, CANARY)
    world.settle()
    erase(world.store, world.store.conversation_id("salon", ANNA))

    answer = operator("balance")

    assert answer.status == 0
    assert answer.out.splitlines()[2:4] == ["Ever dead: fatal_model 2", "Ever suppressed: erased 2"]
    assert operator("balance", "--json").json["reasons"] == {
        "dead": {"fatal_model": 2},
        "suppressed": {"erased": 2},
    }


@pytest.mark.parametrize("verb", ["balance", "audit", "alerts", "trace"])
def test_ledger_of_another_form_is_refused(
    world: World, operator: Operator, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """With the wrong shards or key nothing would be found."""
    monkeypatch.setenv("PRIVACY_KEY", "another-key-than-the-ledger-was-made-with")
    client: Any = world.store.client
    before = client.dbsize()

    answer = operator(verb, *(["id-1"] if verb == "trace" else []))

    assert (answer.status, answer.out) == (1, "")
    assert "this ledger was made with privacy_key=" in answer.err
    assert client.dbsize() == before
