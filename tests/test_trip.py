"""How many files somebody opens who follows one text message."""

import pytest

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
