"""The demo as a newcomer meets it: real processes, a real port, Ctrl-C."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.running import RunningDemo, descendants, live_processes
from tests.processes import Guard
from tests.valkey_server import free_port
from tests.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.usefixtures("valkey_binary")]


@pytest.fixture
def demo(tmp_path: Path, guard: Guard) -> Iterator[RunningDemo]:
    demo = RunningDemo(tmp_path, guard)
    yield demo
    if demo.process.running:
        demo.end_with(signal.SIGTERM)


def test_three_quick_messages_get_one_answer_and_ctrl_c_leaves_only_the_conversation(
    demo: RunningDemo,
):
    demo.start()
    started = descendants(demo.process.group)

    for number, text in enumerate(["Hi", "can I book", "for tomorrow 15:00?"]):
        demo.write(f"m{number}", text)
    # Long enough for the page, which asks three times a second, to show the dots.
    eventually(demo.is_typing)
    eventually(demo.answers)
    answered = demo.answers()
    looked = demo.run(demo.looking_inside())
    env_file = demo.data / ".env"
    mode = env_file.stat().st_mode & 0o777
    code = demo.end_with(signal.SIGINT)
    gone = demo.run(demo.looking_inside())
    log, left = demo.log(), started.keys() & live_processes().keys()
    demo.start()

    assert [answer["answers"] for answer in answered] == [["m0", "m1", "m2"]]
    assert looked.stdout.splitlines()[0].startswith("All is well."), looked
    assert (mode, gone.returncode) == (0o600, 2)
    assert f"{env_file}: there is no such file" in gone.stderr
    assert (code, left) == (0, set())
    # Valkey, two gunicorns, two dramatiqs, the scheduler at least.
    assert len(started) >= 6
    assert [word for word in ("Traceback", "WARNING", "ERROR") if word in log] == []
    assert demo.answers() == answered


def test_second_demo_is_refused_and_the_ledger_stops_after_all_who_write_to_it(
    tmp_path: Path, guard: Guard
):
    demo = RunningDemo(tmp_path, guard, "--verbose")
    demo.start()

    second = demo.run(demo.command_at(free_port()))
    demo.end_with(signal.SIGINT)

    assert second.returncode == 1
    assert second.stderr.startswith(f"Another demo uses {demo.data}.")
    stopping = demo.log().partition("Stopping ...")[2]
    names = [line.partition("|")[0].strip() for line in stopping.splitlines() if "|" in line]
    order = [name for name in dict.fromkeys(names) if name != "scheduler"]  # it may have no words
    assert order == ["web", "worker", "valkey"]
    assert names[-1] == "valkey"


def test_busy_port_is_one_clear_line(demo: RunningDemo):
    with socket.create_server(("127.0.0.1", demo.port)):
        ended = demo.run(demo.command)

    line = (
        f"Port {demo.port} cannot be used, most likely another program has it. "
        f"Stop that, or choose another: make demo ARGS='--port {demo.port + 10}'\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)


def test_mistaken_setting_is_told_and_nothing_is_left(demo: RunningDemo):
    ended = demo.run(demo.command, BATCH_IDLE_MS="soon")

    assert ended.returncode == 1
    assert "BATCH_IDLE_MS=soon" in ended.stderr
    assert [args for _, args in live_processes().values() if str(demo.data) in args] == []


def test_process_that_dies_ends_the_demo_with_its_name(demo: RunningDemo):
    demo.start()
    started = descendants(demo.process.group)
    web = next(pid for pid, args in started.items() if "gunicorn" in args)

    os.kill(web, signal.SIGKILL)
    code = demo.ended()

    assert code == 1
    assert "The web ended with code -9." in demo.log()
    assert started.keys() & live_processes().keys() == set()
