"""What restore.yml asks a ledger that is there, and the logs about what came after a copy."""

import io
import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
import jinja2.nativetypes
import pytest
import yaml

from batching.model import Reason
from batching.store import Store
from tests.batching.world import ANNA, BORIS, World
from tests.fakes import FakeClock
from tests.repository import ROOT

FILES = ROOT / "ansible" / "roles" / "restore" / "files"
#: The copy was made at this time.
COPIED = "2026-11-27T12:00:00.000Z"
COPIED_MS = 1_795_780_800_000


@pytest.fixture
def world(store: Store, clock: FakeClock) -> World:
    """Return a ledger, and what happens to it."""
    store.open()
    return World(store, clock)


def line(event: str, batch: str, at: str = "12:00:01.000", **fields: object) -> str:
    told = {"ts": f"2026-11-27T{at}Z", "event": event, "account": "salon", "batch": batch}
    return json.dumps(told | {"conversation": "c_1"} | fields)


def accepted(batch: str, at: str = "12:00:01.000", **fields: object) -> str:
    return line("message.appended", batch, at, **{"status": "accepted", **fields})


#: Lines of each host → how many messages are missing, and of which batches.
LOGS: dict[str, tuple[list[list[str]], int, list[str]]] = {
    "nothing came": ([[]], 0, []),
    "a bare host beside one that ran": ([[], [accepted("b1")]], 1, ["c_1:b1: 1"]),
    "answered on another host": ([[accepted("b1")], [line("batch.answered", "b1")]], 0, []),
    "deliberately not answered": ([[accepted("b1"), line("batch.suppressed", "b1")]], 0, []),
    "dead, and lost with the ledger": ([[accepted("b1"), line("batch.dropped", "b1")]], 1,
                                       ["c_1:b1: 1"]),
    "one batch by two hosts": ([[accepted("b1", "12:00:03.000")], [accepted("b1")]], 2,
                               ["12:00:01 UTC salon c_1:b1: 2"]),
    "in the copy": ([[accepted("b1", "11:59:59.999"), accepted("b2", "12:00:00.000")]], 0, []),
    "the end of a burst that is in the copy": (
        [[accepted("b1", "11:59:59.999"), accepted("b1", "12:00:00.001")]], 1, ["c_1:b1: 1"]),
    "the answer of another customer's batch": (
        [[accepted("b1"), line("batch.answered", "b1", conversation="c_2")]], 1, ["c_1:b1: 1"]),
    "no message": ([[accepted("b1", status=it) for it in ("duplicate", "full", "suppressed")]], 0,
                   []),
    "a canary": ([[accepted("b1", conversation="k_1")]], 0, []),
    "no lines of ours": ([["Starting", "{}", "[1]", "null", '"text"', '{"event": 7}']], 0, []),
    "in the order in which they came": (
        [[accepted("b2", "12:00:09.000"), accepted("b1")]], 2, ["c_1:b1: 1", "c_1:b2: 1"]),
}  # fmt: skip


def total(
    read: dict[str, dict[str, object] | None], groups: Sequence[str] = ("web", "workers")
) -> Any:
    """Return the sum of what was read on each host, None where it does not answer."""
    told = {host: {"groups": groups, "said": it and json.dumps(it)} for host, it in read.items()}
    command = [sys.executable, str(FILES / "missing.py"), "sum", str(COPIED_MS)]
    done = subprocess.run(
        command, input=json.dumps(told), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", LOGS)
def test_what_came_after_a_copy_and_has_no_end_is_known_by_the_logs(what: str) -> None:
    hosts, missing, batches = LOGS[what]
    program = runpy.run_path(str(FILES / "missing.py"))

    read = [program["read"](io.StringIO("\n".join(lines)), COPIED_MS) for lines in hosts]
    told = total({f"h{n}": found | {"oldest_ms": COPIED_MS} for n, found in enumerate(read)})

    assert told["missing"] == missing
    assert len(told["batches"]) == len(batches)
    assert all(it.endswith(end) for it, end in zip(told["batches"], batches, strict=True))


#: Groups of a host, and since when its log tells anything → whether it may have accepted more than
#: it tells of, and answered more.
REACH: dict[str, tuple[tuple[str, ...], int | None, list[str], list[str]]] = {
    "back to the copy": (("web", "workers"), COPIED_MS, [], []),
    "not back to it": (("web",), COPIED_MS + 1_000, ["h1 (since 2026-11-27 12:00:01 UTC)"], []),
    "no log": (("web", "workers"), 0, ["h1 (no log)"], ["h1 (no log)"]),
    "a host that is off": (("web",), None, ["h1 (no log)"], []),
    "a worker's log alone": (("workers",), 0, [], ["h1 (no log)"]),
    "a scheduler's log alone": (("scheduler",), 0, [], []),
}


@pytest.mark.parametrize("what", REACH)
def test_a_host_whose_log_does_not_reach_back_to_the_copy_is_named(what: str) -> None:
    groups, oldest_ms, blind, unsure = REACH[what]
    nothing: dict[str, object] = {"accepted": {}, "ended": []}

    told = total({"h1": None if oldest_ms is None else nothing | {"oldest_ms": oldest_ms}}, groups)

    assert (told["blind"], told["unsure"]) == (blind, unsure)


def _dead(world: World) -> None:
    run = world.begin(world.to_generating("hello"))
    world.store.dead_letter(run, Reason.POISON, "worker_died")


#: What was done → conversations that wait, dead letters.
PRESENT: dict[str, tuple[Callable[[World], object], int, int]] = {
    "nobody wrote": (lambda _: None, 0, 0),
    "answered": (lambda it: it.answer(it.generate(it.to_generating("hello"))), 0, 0),
    "open": (lambda it: it.write("hello"), 1, 0),
    "in flight": (lambda it: it.to_generating("hello"), 1, 0),
    "a dead letter": (_dead, 0, 1),
    "two customers": (lambda it: [it.write("a", customer=c) for c in (ANNA, BORIS)], 2, 0),
}


@pytest.mark.parametrize("what", PRESENT)
def test_what_a_restore_would_take_away_is_found(world: World, what: str) -> None:
    done, waiting, dead = PRESENT[what]
    world.flush()
    done(world)

    found: Any = world.client.eval((FILES / "ledger.lua").read_text(), 0)

    identity, collected_ms, *counts = found
    assert identity.decode() == world.store.ledger_id()
    assert int(collected_ms) == world.store.watch().heartbeat_ms
    assert counts == [waiting, dead]


def test_redis_without_a_ledger_has_nothing_to_take_away(world: World) -> None:
    world.client.flushall()

    assert world.client.eval((FILES / "ledger.lua").read_text(), 0) == [b"", b"0", 0, 0]


def test_who_was_erased_before_the_copy_is_not_erased_again() -> None:
    """What they wrote after the erasure is in the copy, and nobody asked to delete it."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters |= {"split": str.split, "realpath": str}
    told: Any = yaml.safe_load((FILES.parent / "vars" / "main.yml").read_text())
    listed = f"{COPIED_MS - 1} c_before\n{COPIED_MS} c_at\n{COPIED_MS + 1} c_after\n"
    given = {"lookup": lambda _, path: {"erasures": listed}[path], "restore_copied": COPIED_MS}

    template = environment.from_string(told["restore_erased"])
    erased: list[Any] = [template.render(given, restore_erasures=it) for it in ("erasures", "none")]

    assert erased == [["c_at", "c_after"], []]
