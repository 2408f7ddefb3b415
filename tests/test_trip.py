"""How many files somebody opens who follows one text message; ``make trip`` prints them.

What is built at the first use, such as an account's model, counts too.
"""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType

import pytest

from actors.tasks import Tasks
from batching.inspect import counters
from scheduler.tick import Tick
from tests.fakes import FakeQueue
from tests.repository import CODE, ROOT, rows
from tests.street import Street, street
from tests.webhooks import body

__all__ = ["street"]

FILES_TO_200_MAX = 9
FILES_MAX = 27


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the way. ``calls``: (file, function) of each call of ours, in order."""

    name: str
    calls: tuple[tuple[str, str], ...]

    @property
    def files(self) -> dict[str, None]:
        """Return the files that were entered, relative to the repository, in order."""
        return dict.fromkeys(file for file, _ in self.calls)

    def __str__(self) -> str:
        changes = sum(one != other for (one, _), (other, _) in pairwise(self.calls))
        return (
            f"{self.name}: {len(self.files)} files, {len(set(self.calls))} functions, "
            f"{len(self.calls)} calls, {changes} changes of file\n  " + "\n  ".join(self.files)
        )


class Queue(FakeQueue):
    """Takes wake-ups in place of a broker; the broker's own files are Dramatiq's affair."""

    def enqueue_flush(self) -> bool:
        return True

    def flush_begins(self) -> None:
        """Do nothing."""


@pytest.fixture
def stages(street: Street) -> list[Stage]:
    """Send one message the whole way and return its stages."""
    logging.getLogger().setLevel(logging.ERROR)
    runtime, queue, salon = street.runtime, Queue(), street.businesses["salon"]
    tasks = Tasks(runtime.store, runtime.accounts, queue)  # type: ignore[arg-type]
    # With the second message the batch is full, and due at once.
    assert street.caller.cloud(body(salon.message("Hi"))).status_code == 200
    question = body(salon.message("When do you open?"))

    def work(task: Callable[[str, str, int], None]) -> None:
        (wake_up,) = queue.take()
        task(wake_up.conversation_id, wake_up.batch_id, wake_up.attempt)

    steps: dict[str, Callable[[], object]] = {
        "POST to 200": lambda: street.caller.cloud(question),
        "tick": Tick(runtime.store.watch, queue.enqueue_flush, lambda: None),
        "flush": tasks.flush,
        "generate": lambda: work(tasks.generate),
        "send": lambda: work(tasks.send),
    }
    passed = [Stage(name, tuple(calls(step))) for name, step in steps.items()]
    assert sum(counted.answered for counted in counters(runtime.store)) == 2
    return passed


def calls(step: Callable[[], object]) -> Iterator[tuple[str, str]]:
    """Run ``step`` and yield the calls of our own functions, in whichever thread."""
    entered = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and not frame.f_code.co_name.startswith("<"):
            entered.append(frame.f_code)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    for code in entered:
        path = Path(code.co_filename)
        if path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] not in {"tests", ".venv"}:
            yield str(path.relative_to(ROOT)), f"{code.co_name}:{code.co_firstlineno}"


def test_message_passes_few_files(stages: list[Stage]) -> None:
    files = {file for stage in stages for file in stage.files}

    print(*stages, f"whole way: {len(files)} files", sep="\n")  # noqa: T201 - for `make trip`
    assert len(stages[0].files) <= FILES_TO_200_MAX
    assert len(files) <= FILES_MAX


def test_architecture_names_files_of_each_stage(stages: list[Stage]) -> None:
    """It names the few that matter: none that a message does not pass."""
    passed = {stage.name: stage.files.keys() for stage in stages}
    table = rows("architecture.md", "How a message travels")
    documented = {row[0].partition(":")[0]: set(CODE.findall(row[1])) for row in table}

    assert documented.keys() == passed.keys()
    assert [name for name, files in documented.items() if not files <= passed[name]] == []
