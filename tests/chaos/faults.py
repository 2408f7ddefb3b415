"""The faults: what each does to a running installation and takes back, and the plan of a run.

A wound is a generator of one step: it hurts, yields for as long as the fault lasts, and heals. It
takes the scene, the victim's name, "" where it has none, and the random numbers of its fault.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP

import redis

from tests.chaos.meta import Meta
from tests.chaos.outside import ChaosModel, ChaosProvider
from tests.chaos.record import Healed, Record, Struck
from tests.chaos.site import OTHERS, SERVICES, WORKERS, Site
from tests.waiting import answers, eventually

#: Any worker may lose a lease without knowing.
EVERYBODY = ""
DISK_SIZE = "192m"


class SmallDisk:
    """A disk of its own under ``directory``, where this machine lets us; ``missing`` says why not.

    Mounting takes root.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.filler = directory / "filler"
        self.missing = "needs root to mount a small disk" if os.geteuid() else ""
        if not self.missing:
            options = ["-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(directory)]
            done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
            self.missing = done.stderr.strip() if done.returncode else ""

    def remove(self) -> None:
        if not self.missing:
            subprocess.run(["umount", "-l", str(self._directory)], check=False)
        shutil.rmtree(self._directory, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """All that can be hurt."""

    site: Site
    meta: Meta
    model: ChaosModel
    provider: ChaosProvider
    disk: SmallDisk


Wound = Callable[[Scene, str, random.Random], Iterator[None]]


def killed(scene: Scene, name: str, rng: random.Random, *, child: bool) -> Iterator[None]:
    """Kill a process; systemd starts the service again."""
    scene.site.signal(name, SIGKILL, rng, child=child)
    yield


def stopped(scene: Scene, name: str, rng: random.Random, *, child: bool) -> Iterator[None]:
    """Freeze a process without systemd noticing."""
    pid = scene.site.signal(name, SIGSTOP, rng, child=child)
    yield
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGCONT)


def terminated(scene: Scene, name: str, _rng: random.Random) -> Iterator[None]:
    """Stop a service, or all at once, by SIGTERM and start it again: a deploy."""
    services = (name,) if name else SERVICES
    with scene.site.unsupervised(*services):
        for service in services:
            scene.site.processes[service].signal(signal.SIGTERM)
        yield
        for service in services:
            with contextlib.suppress(TimeoutError):
                scene.site.processes[service].terminate()
            scene.site.processes[service].start()


def other_release(scene: Scene, _victim: str, rng: random.Random) -> Iterator[None]:
    """Run another release with other settings beside the first, and end it hard or well."""
    site = scene.site
    others = [site.processes[name] for name in OTHERS]
    for process in others:
        process.start()
    try:
        url = f"http://127.0.0.1:{site.other_port}"
        eventually(lambda: answers(url), what="the other release to serve")
        scene.meta.ports.append(site.other_port)
        yield
        scene.meta.ports.remove(site.other_port)
    finally:
        for process in others:
            if rng.random() < 0.5:
                process.kill()
            else:
                with contextlib.suppress(TimeoutError):
                    process.terminate()


def redis_killed(scene: Scene, _victim: str, _rng: random.Random) -> Iterator[None]:
    scene.site.valkey.kill()
    yield
    scene.site.valkey.start()


def redis_stopped(scene: Scene, _victim: str, _rng: random.Random) -> Iterator[None]:
    scene.site.valkey.pause()
    yield
    scene.site.valkey.resume()


def disk_full(scene: Scene, _victim: str, _rng: random.Random) -> Iterator[None]:
    """Leave the ledger's file no room: a server that syncs each write ends by itself."""
    with scene.disk.filler.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"\0" * 65_536):
            pass
    yield
    scene.disk.filler.unlink()
    if not scene.site.valkey.running:
        scene.site.valkey.kill()
        scene.site.valkey.start()


def scripts_flushed(scene: Scene, _victim: str, _rng: random.Random) -> Iterator[None]:
    with contextlib.suppress(redis.RedisError):
        scene.site.ledger.client.script_flush()
    yield


def broker_flushed(scene: Scene, _victim: str, _rng: random.Random) -> Iterator[None]:
    with contextlib.suppress(redis.RedisError), scene.site.valkey.client(1) as broker:
        broker.flushdb()
    yield


def cut(scene: Scene, name: str, _rng: random.Random) -> Iterator[None]:
    scene.site.proxies[name].cut()
    yield


def refused(scene: Scene, name: str, _rng: random.Random) -> Iterator[None]:
    scene.site.proxies[name].refuses = True
    scene.site.proxies[name].cut()
    yield
    scene.site.proxies[name].refuses = False


def swallowed(scene: Scene, name: str, _rng: random.Random) -> Iterator[None]:
    scene.site.proxies[name].swallows = True
    yield
    scene.site.proxies[name].swallows = False


def delayed(scene: Scene, name: str, rng: random.Random) -> Iterator[None]:
    scene.site.proxies[name].delay_ms = rng.choice((30, 100, 300))
    yield
    scene.site.proxies[name].delay_ms = 0


def sentry_away(scene: Scene, _victim: str, _rng: random.Random) -> Iterator[None]:
    scene.site.sentry.away = True
    yield
    scene.site.sentry.away = False


def moody(
    scene: Scene, _victim: str, _rng: random.Random, *, api: str, mood: str
) -> Iterator[None]:
    service = getattr(scene, api)
    service.mood = getattr(service, mood)
    yield
    service.mood = None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    ``share``: how often it is in a deck. ``hold_s``: how long it lasts, least and most.
    ``victims``: whom it can meet, each by its name. ``targets``: what no two faults may have in
    hand at once, "*" for its victim. ``unsettles``: whether the victim, if it is a worker, may
    lose its leases by it; the victim "" is everybody.
    """

    name: str
    wound: Wound
    share: int
    hold_s: tuple[float, float]
    victims: tuple[str, ...] = (EVERYBODY,)
    targets: tuple[str, ...] = ("*",)
    unsettles: bool = True


def _moody(api: str, mood: str, share: int) -> Kind:
    wound = partial(moody, api=api, mood=mood)
    return Kind(f"{api} {mood}", wound, share, (2.0, 4.0), targets=(api,), unsettles=False)


_WITH_CHILDREN = ("web", *WORKERS)
_LINE, _REDIS = ("lines of *",), ("redis",)
KINDS = (
    Kind("master killed", partial(killed, child=False), 2, (1.2, 1.5), SERVICES),
    Kind("child killed", partial(killed, child=True), 2, (0.2, 1.5), _WITH_CHILDREN),
    Kind("master stopped", partial(stopped, child=False), 1, (1.0, 4.0), SERVICES),
    Kind("child stopped", partial(stopped, child=True), 2, (3.0, 7.0), _WITH_CHILDREN),
    Kind("terminated", terminated, 1, (0.1, 0.5), SERVICES),
    Kind("fleet restarted", terminated, 1, (0.1, 1.0), targets=SERVICES),
    Kind("other release", other_release, 1, (3.0, 6.0), ("other-worker",)),
    Kind("redis killed", redis_killed, 3, (0.1, 1.5), targets=_REDIS),
    Kind("redis stopped", redis_stopped, 2, (0.5, 4.0), targets=_REDIS),
    Kind("disk full", disk_full, 1, (0.5, 2.0), targets=_REDIS),
    Kind("scripts flushed", scripts_flushed, 1, (0.0, 0.1), targets=_REDIS, unsettles=False),
    Kind("broker flushed", broker_flushed, 2, (0.0, 0.1), targets=("broker",), unsettles=False),
    Kind("connections cut", cut, 3, (0.0, 0.1), SERVICES, _LINE),
    Kind("connections refused", refused, 2, (0.5, 3.0), SERVICES, _LINE),
    Kind("answers swallowed", swallowed, 3, (0.5, 2.0), SERVICES, _LINE),
    Kind("redis slow", delayed, 2, (2.0, 5.0), SERVICES, _LINE),
    Kind("sentry away", sentry_away, 1, (2.0, 6.0), targets=("sentry",), unsettles=False),
    _moody("model", "errors", 2),
    _moody("model", "garbage", 2),
    _moody("model", "hangs", 1),
    _moody("provider", "refuses", 2),
    _moody("provider", "breaks", 2),
)
#: Those that kill processes of ours.
KILLS = tuple(kind for kind in KINDS if kind.name in {"master killed", "child killed"})
#: So many faults show every kind.
DECK = sum(kind.share for kind in KINDS)


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a plan; ``seed`` is for what its wound chooses."""

    number: int
    at_s: float
    hold_s: float
    kind: Kind
    victim: str
    seed: int

    @property
    def targets(self) -> Sequence[str]:
        """What it has in hand, in the order in which all faults take hold of it."""
        return sorted(target.replace("*", self.victim) for target in self.kind.targets)

    @property
    def unsettles(self) -> str | None:
        """The worker that may lose leases by it, EVERYBODY for any of them, None for none."""
        who = (EVERYBODY, *WORKERS, "other-worker")
        return self.victim if self.kind.unsettles and self.victim in who else None


def plan(
    seed: int, count: int, *, spacing_s: float, kinds: Sequence[Kind] = KINDS
) -> list[Planned]:
    """Return ``count`` faults, one every ``spacing_s`` on average, all kinds in turn."""
    rng = random.Random(seed)  # noqa: S311 - a plan to repeat, no secret
    planned: list[Planned] = []
    at_s, deck = 0.0, list[Kind]()
    for number in range(1, count + 1):
        if not deck:
            deck = [kind for kind in kinds for _ in range(kind.share)]
            rng.shuffle(deck)
        kind = deck.pop()
        at_s += rng.uniform(0.4, 1.6) * spacing_s
        hold_s, victim = rng.uniform(*kind.hold_s), rng.choice(kind.victims)
        planned.append(Planned(number, at_s, hold_s, kind, victim, rng.randrange(1 << 32)))
    return planned


@dataclass
class Assault:
    """Strikes the scene, each fault at its time, none while another has the same in hand.

    ``skipped`` says which kinds could not be, and why; ``failed`` which faults could not heal.
    """

    scene: Scene
    record: Record
    skipped: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def carry_out(self, plan: Sequence[Planned]) -> None:
        """Return when the last fault is healed."""
        locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        began_s = time.monotonic()
        threads = []
        for planned in plan:
            time.sleep(max(0.0, began_s + planned.at_s - time.monotonic()))
            if planned.kind.wound is disk_full and self.scene.disk.missing:
                self.skipped[planned.kind.name] = self.scene.disk.missing
                continue
            # Taken hold of here, in order: a fault waits for the one before it, and the plan too.
            holds = [locks[target] for target in planned.targets]
            for hold in holds:
                hold.acquire()
            threads.append(threading.Thread(target=self._strike, args=(planned, holds)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _strike(self, planned: Planned, holds: Sequence[threading.Lock]) -> None:
        rng = random.Random(planned.seed)  # noqa: S311 - to repeat a run, no secret
        number, name, who = planned.number, planned.kind.name, planned.unsettles
        self.record.note(lambda at_ms: Struck(at_ms, number, name, who))
        try:
            for _ in planned.kind.wound(self.scene, planned.victim, rng):
                time.sleep(planned.hold_s)
        except Exception as error:  # noqa: BLE001 - reported; the other faults go on
            self.failed.append(f"fault {number} ({name}): {type(error).__name__}: {error}")
        finally:
            self.record.note(lambda at_ms: Healed(at_ms, number))
            for hold in holds:
                hold.release()
