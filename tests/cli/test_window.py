"""``bursts`` and ``replay-window``: from a ledger in use to a table."""

from pathlib import Path

import pytest

from bench.bursts import generated
from tests.batching.world import World
from tests.cli.conftest import CANARY, Operator
from tests.repository import ROOT


def test_bursts_of_the_ledger_are_replayed(
    world: World, operator: Operator, tmp_path: Path
) -> None:
    world.write(CANARY, "when?")
    world.settle()
    file = tmp_path / "bursts"

    printed = operator("bursts")
    file.write_text(printed.out)
    fixed, adaptive = operator("replay-window", "--from", str(file), "--json").json["windows"]

    assert (printed.status, CANARY in printed.out) == (0, False)
    assert fixed == {
        "window": "fixed", "idle_ms": 9_000, "bursts": 1, "messages": 2, "calls": 1,
        "calls_saved": 1, "messages_per_answer": 2.0, "bursts_split": 0, "wait_mean_ms": 9_000,
        "wait_p50_ms": 9_000, "wait_p95_ms": 9_000, "messages_billed": 1, "ignored": 0,
    }  # fmt: skip
    waits = dict.fromkeys(("wait_mean_ms", "wait_p50_ms", "wait_p95_ms"), 4_500)
    assert adaptive == fixed | waits | {"window": "adaptive"}


@pytest.mark.parametrize("pace", [100, 50])
def test_tables_of_the_documentation_are_what_is_printed(
    operator: Operator, tmp_path: Path, pace: int
) -> None:
    file = tmp_path / "bursts"
    found = generated(1, thoughts=3_000, pace_percent=pace)
    file.write_text("\n".join(found.encode()))

    printed = operator(
        "replay-window", "--idle-ms", "5000", "9000", "12000", "15000", "--from", str(file)
    ).out

    assert printed in (ROOT / "docs" / "conversation.md").read_text()


def test_each_window_that_is_named_has_one_row(operator: Operator, tmp_path: Path) -> None:
    file = tmp_path / "bursts"
    file.write_text("\n".join(generated(1, thoughts=3).encode()))
    typed = ("--window", "adaptive", "adaptive", "--idle-ms", "2500", "--from", str(file))

    head, *rows = operator("replay-window", *typed).out.splitlines()

    assert head.split()[0] == "window"
    assert [row.split()[:2] for row in rows] == [["adaptive", "2.5"]]


def test_file_that_is_none_is_told_in_plain_words(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("hello\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    said = {
        name: operator("replay-window", "--from", str(tmp_path / name))
        for name in ("missing", "other", "binary")
    }

    assert {it.status for it in said.values()} == {2}
    assert "--from: cannot be read (No such file or directory)" in said["missing"].err
    assert "--from: line 1: must be as `manage.py bursts` writes it" in said["other"].err
    assert "--from: is not UTF-8" in said["binary"].err
