"""How many files somebody opens who follows one text message."""

import pytest

from tests.test_docs import CODE, rows
from tests.trip import Stage, files_of, trip

FILES_TO_200_MAX = 9
FILES_MAX = 22


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return trip()


def test_webhook_passes_few_files(stages: list[Stage]) -> None:
    assert len(stages[0].files) <= FILES_TO_200_MAX, sorted(stages[0].files)


def test_message_passes_few_files(stages: list[Stage]) -> None:
    files = files_of(stages)

    assert len(files) <= FILES_MAX, sorted(files)


def test_architecture_names_files_of_each_stage(stages: list[Stage]) -> None:
    """It names the few that matter: none that a message does not pass."""
    passed = {stage.name: stage.files for stage in stages}
    table = rows("architecture.md", "How a message travels")
    documented = {row[0].partition(":")[0]: set(CODE.findall(row[1])) for row in table}

    assert documented.keys() == passed.keys()
    assert [name for name, files in documented.items() if not files <= passed[name]] == []
