"""``bursts`` and ``replay-window``: from a ledger in use to a table."""

from pathlib import Path

from tests.batching.world import World
from tests.cli.conftest import CANARY, Operator


def test_bursts_of_the_ledger_are_replayed(
    world: World, operator: Operator, tmp_path: Path
) -> None:
    world.write(CANARY, "when?")
    world.settle()
    file = tmp_path / "bursts"

    printed = operator("bursts")
    file.write_text(printed.out)
    fixed = operator("replay-window", "--from", str(file), "--json").json
    table = operator("replay-window", "--window", "adaptive", "--from", str(file)).out

    assert (printed.status, CANARY in printed.out) == (0, False)
    assert (fixed["messages"], fixed["calls"], fixed["calls_saved"]) == (2, 1, 1)
    assert (fixed["bursts_split"], fixed["wait_p50_ms"]) == (0, 9_000)
    assert (
        table.split()[-10:] == ["1", "2", "1", "1", "0", "0.0", "4.5", "4.5", "4.5", "1", "0"][1:]
    )


def test_file_that_is_none_is_told_in_plain_words(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("hello\n")

    missing = operator("replay-window", "--from", str(tmp_path / "missing"))
    other = operator("replay-window", "--from", str(tmp_path / "other"))

    assert (missing.status, other.status) == (2, 1)
    assert "cannot be read" in missing.err
    assert "line 1: must be as `manage.py bursts` writes it" in other.err
