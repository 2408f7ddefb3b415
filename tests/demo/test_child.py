"""One process of the demo, with commands that behave badly."""

import re
import sys
from collections.abc import Callable, Iterator

import pytest

from demo.child import Child, DemoError
from tests.demo.running import live_processes
from tests.waiting import eventually

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
PARENT = """
import subprocess
print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
"""

Heard = list[tuple[str, str]]
Start = Callable[[str], tuple[Child, Heard]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a starter of programs, all stopped in the end; it returns once they say a word."""
    children: list[Child] = []

    def start(program: str) -> tuple[Child, Heard]:
        heard: Heard = []
        command = [sys.executable, "-c", program]
        child = Child("web", command, environ={}, listen=lambda *line: heard.append(line))
        children.append(child)
        eventually(lambda: heard)
        return child, heard

    yield start
    for child in children:
        child.stop(lambda: True)


def test_stop_leaves_nothing_of_the_group(start: Start) -> None:
    child, heard = start(PARENT)
    eventually(lambda: not child.running)
    grandchild = int(heard[0][1])
    was_alive = grandchild in live_processes()

    child.stop(lambda: False)

    assert was_alive
    eventually(lambda: grandchild not in live_processes())


def test_hurry_ends_what_ignores_the_wish(start: Start) -> None:
    child, heard = start(DEAF)
    child.check()  # A live process is no trouble.

    child.stop(lambda: True)

    assert heard == [("web", "deaf")]
    assert not child.running


def test_last_words_of_a_dead_process_are_told(start: Start) -> None:
    child, _ = start("import sys; print('first', flush=True); sys.exit('the reason')")
    eventually(lambda: not child.running)

    words = "The web ended with code 1. Its last words:\n  first\n  the reason"
    with pytest.raises(DemoError, match=re.escape(words)):
        child.check()
