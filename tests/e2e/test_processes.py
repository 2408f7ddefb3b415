"""Any number of processes may run, any may end or be killed, and the broker may lose or repeat.

What a process holds when it ends at each single step: ``tests/chaos/test_failpoints.py``.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from batching.keys import FLEET
from demo.child import SCHEDULER, worker
from runtime.fleet import members
from tests.conftest import needed
from tests.http_server import hang
from tests.repository import ROOT, names
from tests.stack.accounts import RESENDING
from tests.stack.customer import Customer
from tests.stack.stack import USUAL, Stack
from tests.waiting import eventually, in_background

pytestmark = pytest.mark.e2e

#: Conversations are spread over several shards, as they are on a cluster. A doubt lasts long
#: enough to be seen and resolved before the policy resolves it.
ENVIRON = {"BATCH_SHARDS": "4", "BATCH_AMBIGUOUS_MS": "8000"}


def roles(stack: Stack) -> list[str]:
    """Return who is in the fleet, silent ones included."""
    return sorted(member.role for member in members(stack.ledger.client))


def check_answers(crowd: Sequence[Customer], *texts: str) -> None:
    """Wait until each has one answer to their texts, to one question."""
    for customer in crowd:
        turn = "\n".join(customer.lines(*texts))
        assert customer.wait_for_answers() == [f"Answer to: {turn}"]
        assert customer.turns == [turn]


def test_two_schedulers_and_two_workers_answer_everyone_once(stack: Stack) -> None:
    scheduler = stack.process("second scheduler", *SCHEDULER)
    second = stack.process("second worker", *worker(threads=16))
    scheduler.start()
    second.start()
    eventually(lambda: "process.started" in scheduler.log(), what="the second scheduler")
    crowd = [stack.customer() for _ in range(30)]

    for customer in crowd:
        customer.writes(customer.line("Hi"))

    for customer in crowd:
        stack.ledger.wait_until_settled(customer)
    check_answers(crowd, "Hi")
    assert scheduler.terminate() == 0
    second.kill()


def test_worker_that_is_killed_while_it_sends_leaves_doubts_that_status_or_policy_resolves(
    stack: Stack,
) -> None:
    """One text has a late status; one never; one account prefers two copies to none."""
    resolved, lost, resent = stack.customer(), stack.customer(), stack.customer(RESENDING)
    for customer in (resolved, lost, resent):
        stack.provider.answer(hang, to=customer.number)
        customer.writes(customer.line("Hi"))
    for customer in (resolved, lost, resent):
        customer.wait_for_answers()
    assert [stack.ledger.state(c) for c in (resolved, lost, resent)] == ["sending"] * 3

    stack.processes["worker"].kill()
    stack.processes["worker"].start()
    eventually(lambda: stack.ledger.state(resolved) == "ambiguous", what="the doubt")
    resolved.report(resolved.offered[0], "sent")

    assert stack.ledger.wait_for_death(lost) == "ambiguous/no_status"
    assert stack.ledger.alerts_of(lost) == ["ambiguous"]
    resent.wait_for_answers(2)
    for customer in (resolved, resent):
        stack.ledger.wait_until_settled(customer)
    assert stack.ledger.alerts_of(resolved) == []
    assert [len(c.replies) for c in (resolved, lost, resent)] == [1, 1, 2]
    assert [len(c.turns) for c in (resolved, lost, resent)] == [1, 1, 1]


def test_worker_that_is_told_to_stop_finishes_what_it_began(stack: Stack) -> None:
    """SIGTERM in the middle of a burst: everyone is answered once, and nothing is in doubt."""
    crowd = [stack.customer() for _ in range(10)]
    for customer in crowd:
        customer.writes(customer.line("Hi"))
    crowd[0].wait_for_turns()

    exit_code = stack.processes["worker"].terminate()
    stack.processes["worker"].start()

    assert exit_code == 0
    check_answers(crowd, "Hi")


def test_broker_that_is_emptied_all_the_time_loses_nothing(stack: Stack) -> None:
    crowd = [stack.customer() for _ in range(20)]
    over: list[bool] = []

    with stack.valkey.client(1) as broker:

        def empty() -> None:
            eventually(lambda: broker.flushdb() and over, what="the end", every_s=0.05)

        with in_background(empty), ThreadPoolExecutor(5) as pool:
            for writing in [pool.submit(c.writes, *c.lines("Hi", "you?")) for c in crowd]:
                writing.result()
            stack.ledger.let_pass(4_000)
            over.append(True)

    check_answers(crowd, "Hi", "you?")


def test_wake_up_that_the_broker_repeats_ten_times_is_answered_once(stack: Stack) -> None:
    anna = stack.customer()
    stack.processes["worker"].kill()
    anna.writes(anna.line("Hi"))
    queue = "dramatiq:flush"
    with stack.valkey.client(1) as broker:
        eventually(lambda: broker.llen(queue), what="a wake-up in the broker")
        waiting = broker.lrange(queue, 0, -1)
        broker.rpush(queue, *list(waiting) * 10)

    stack.processes["worker"].start()

    stack.ledger.wait_until_settled(anna)
    check_answers([anna], "Hi")


def test_every_process_ends_when_it_is_told_to_and_leaves_the_fleet(stack: Stack) -> None:
    """A playbook that ends old processes asks whether they are gone, not for how long silent."""
    stack.processes["worker"].terminate()
    pair = stack.process("pair of workers", *worker(processes=2, threads=4))
    pair.start()
    # Those that other tests killed stay listed for a minute; the living announce themselves again.
    stack.ledger.client.delete(FLEET)
    eventually(lambda: roles(stack) == ["scheduler", "web", "web", "worker", "worker"])

    exit_codes, left = [], []
    for process in (pair, stack.processes["scheduler"], stack.processes["web"]):
        exit_codes.append(process.terminate())
        left.append(roles(stack))
    for name in USUAL:
        stack.processes[name].start()
    stack.wait_until_ready()

    assert exit_codes == [0, 0, 0]
    assert left == [["scheduler", "web", "web"], ["web", "web"], []]


def children(stack: Stack, role: str) -> list[int]:
    """Return the processes of a role that its master has started; others may be announced yet."""
    announced = [it.pid for it in members(stack.ledger.client) if it.role == role]
    found = [Path(f"/proc/{pid}/stat") for pid in announced]
    group = str(stack.processes[role].group)
    return [
        int(it.parent.name) for it in found if it.exists() and it.read_text().split()[4] == group
    ]


def test_lines_of_all_processes_have_one_form_and_masters_tell_of_deaths(stack: Stack) -> None:
    """A worker of each is killed; whoever looks for it finds the process by host and pid."""
    web = eventually(lambda: children(stack, "web"), what="a web process")[0]
    worker_pid = eventually(lambda: children(stack, "worker"), what="a worker")[0]
    os.kill(web, signal.SIGKILL)
    os.kill(worker_pid, signal.SIGKILL)
    eventually(lambda: not stack.processes["worker"].running, what="Dramatiq to end")
    eventually(lambda: f'"worker_pid": {web}, "signal"' in stack.processes["web"].log())
    stack.processes["worker"].start()
    stack.wait_until_ready()

    lines = [
        json.loads(line)
        for name, process in stack.processes.items()
        for line in process.log().splitlines()
    ]

    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    usual = ["ts", "level", "event", "logger", "role", "host", "pid", "release"]
    odd = [it for it in lines if list(it)[:8] != usual or not moment.fullmatch(it["ts"])]
    assert odd == []
    assert {(it["role"], it["host"], it["release"]) for it in lines} == {
        (role, socket.gethostname(), "unknown") for role in USUAL
    }
    told = [(it["role"], it["event"], it["worker_pid"]) for it in lines if "worker_pid" in it]
    assert {("web", "worker.killed", web), ("worker", "worker.died", worker_pid)} <= set(told)
    servers = {"gunicorn.error", "dramatiq.MainProcess"}
    assert {it["event"] for it in lines if it["logger"] in servers} <= {
        *names("reference.md", "Events of the servers")
    }


def recipes() -> Iterator[list[str]]:
    """Yield the jq command of each line of the runbook that reads journald."""
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    for line in re.findall(r"^    journalctl .* -o cat .*\| (jq .*)$", runbook, re.MULTILINE):
        yield shlex.split(line)


def test_recipes_of_the_runbook_find_what_they_promise(stack: Stack) -> None:
    """On what these very processes wrote, a line of systemd's among it."""
    anna = stack.customer()
    anna.writes(anna.line("Hi"))
    stack.ledger.wait_until_settled(anna)
    refused = httpx2.post(f"http://127.0.0.1:{stack.port}/webhooks/whatsapp_cloud", content=b"{}")
    assert refused.status_code == 401
    stack.processes["web"].terminate()
    stack.processes["web"].start()
    stack.wait_until_ready()
    written = [it for each in stack.processes.values() for it in each.log().splitlines()]
    # As journald has them: by time, with which each begins.
    journal = "\n".join(["Started AI Admin.", *sorted(written)])
    conversation = stack.ledger.conversation_id(anna)

    found, jq = {}, needed("jq")
    for command in recipes():
        asked = [it.replace("c_9f2c01ab6d7e8f9012345678", conversation) for it in command]
        done = subprocess.run(
            [jq, *asked[1:]], input=journal, capture_output=True, text=True, check=True
        )
        found[command[-1]] = done.stdout

    one, _, events, took, reasons = found.values()
    lines = [json.loads(line) for line in one.splitlines()]
    assert [it["event"] for it in lines if it["event"] != "doorbell.deferred"] == [
        *("message.appended", "batch.collected", "reply.generated", "reply.part_sent"),
        "batch.answered",
    ]
    assert all(it["took_ms"] >= 0 for it in lines if it["event"].startswith("reply."))
    assert json.loads(events)["batch.answered"] >= 1
    assert {"account", "answers", "median_ms", "worst_ms"} == json.loads(took)[0].keys()
    assert json.loads(reasons)["signature"] >= 1
