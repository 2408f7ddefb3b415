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

Lines = list[tuple[str, str]]
Start = Callable[[str], Child]


@pytest.fixture
def heard() -> Lines:
    return []


@pytest.fixture
def start(heard: Lines) -> Iterator[Start]:
    """Return a starter of programs, all stopped in the end."""
    children: list[Child] = []

    def listen(name: str, line: str) -> None:
        heard.append((name, line))

    def start(program: str) -> Child:
        command = [sys.executable, "-c", program]
        children.append(Child("web", command, environ={}, listen=listen))
        return children[-1]

    yield start
    for child in children:
        child.stop(lambda: True)


def test_stop_leaves_nothing_of_the_group(start: Start, heard: Lines):
    child = start(PARENT)
    eventually(lambda: heard and not child.running)
    grandchild = int(heard[0][1])
    was_alive = grandchild in live_processes()

    child.stop(lambda: False)

    assert was_alive
    eventually(lambda: grandchild not in live_processes())


def test_hurry_ends_what_ignores_the_wish(start: Start, heard: Lines):
    child = start(DEAF)
    eventually(lambda: heard)

    child.stop(lambda: True)

    assert not child.running


def test_last_words_of_a_dead_process_are_told(start: Start):
    child = start("import sys; print('first', flush=True); sys.exit('the reason')")
    eventually(lambda: not child.running)

    words = "The web ended with code 1. Its last words:\n  first\n  the reason"
    with pytest.raises(DemoError, match=re.escape(words)):
        child.check()


def test_live_process_is_no_trouble(start: Start, heard: Lines):
    child = start("import time; print('up', flush=True); time.sleep(600)")
    eventually(lambda: heard)

    child.check()

    assert heard == [("web", "up")]
