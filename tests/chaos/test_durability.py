"""What was acknowledged outlives the end of its server, as far as its file is synced."""

import pytest

from tests.chaos.durability import lose
from tests.chaos.synced import missing
from tests.processes import Guard

pytestmark = pytest.mark.chaos

SECONDS = 1.0


#: Not everysec: while a sync is under way its server holds writes back, and has answered already.
@pytest.mark.parametrize("fsync", ["always", "no"])
def test_killed_server_loses_nothing_that_was_acknowledged(
    valkey_binary: str, guard: Guard, fsync: str
) -> None:
    loss = lose(valkey_binary, guard, fsync=fsync, end="kill", seconds=SECONDS)

    assert loss.acknowledged
    assert loss.lost == 0


@pytest.mark.skipif(bool(missing()), reason=missing() or "strace is there")
def test_power_cut_loses_nothing_where_each_write_is_synced(
    valkey_binary: str, guard: Guard
) -> None:
    loss = lose(valkey_binary, guard, fsync="always", end="power cut", seconds=SECONDS)

    assert loss.acknowledged
    assert loss.lost == 0


@pytest.mark.skipif(bool(missing()), reason=missing() or "strace is there")
def test_power_cut_loses_what_was_never_synced(valkey_binary: str, guard: Guard) -> None:
    """The emulation does cut: without a single sync, nearly everything is gone."""
    loss = lose(valkey_binary, guard, fsync="no", end="power cut", seconds=SECONDS)

    assert loss.lost > loss.acknowledged // 2
