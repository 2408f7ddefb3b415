"""The catalogue of faults, and the plan of a run: which happens when, drawn from a seed."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from tests.chaos import wounds
from tests.chaos.site import SERVICES, WORKERS
from tests.chaos.wounds import Scene

#: Any worker may lose a lease without knowing.
EVERYBODY = ""

Wound = Callable[[Scene, random.Random], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    ``victims``: whom it can meet, each by its name; ``share``: how often it is in a deck;
    ``hold_s``: how long it lasts, least and most; ``targets``: what no two faults may have in
    hand at once, "*" for its victim. ``unsettles``: whether the victim, if it is a worker, may
    lose its leases by it; the victim "" is everybody.
    """

    name: str
    wound: Callable[[str], Wound]
    victims: tuple[str, ...]
    share: int
    hold_s: tuple[float, float]
    targets: tuple[str, ...] = ("*",)
    unsettles: bool = False


def _whoever(wound: Wound) -> Callable[[str], Wound]:
    return lambda _victim: wound


def _of_processes() -> Iterator[Kind]:
    def killed(name: str) -> Wound:
        return partial(wounds.killed, name, child=False)

    def child_killed(name: str) -> Wound:
        return partial(wounds.killed, name, child=True)

    def stopped(name: str) -> Wound:
        return partial(wounds.stopped, name, child=False)

    def child_stopped(name: str) -> Wound:
        return partial(wounds.stopped, name, child=True)

    def terminated(name: str) -> Wound:
        return partial(wounds.terminated, (name,))

    with_children = ("web", *WORKERS)
    yield Kind("master killed", killed, SERVICES, 2, (1.2, 1.5), unsettles=True)
    yield Kind("child killed", child_killed, with_children, 2, (0.2, 1.5), unsettles=True)
    yield Kind("master stopped", stopped, SERVICES, 1, (1.0, 4.0), unsettles=True)
    yield Kind("child stopped", child_stopped, with_children, 2, (3.0, 7.0), unsettles=True)
    yield Kind("terminated", terminated, SERVICES, 1, (0.1, 0.5), unsettles=True)
    fleet = partial(wounds.terminated, SERVICES)
    everyone = (EVERYBODY,)
    yield Kind(
        "fleet restarted", _whoever(fleet), everyone, 1, (0.1, 1.0), SERVICES, unsettles=True
    )
    other = ("other-worker",)
    beside = wounds.other_release
    yield Kind("other release", _whoever(beside), other, 1, (3.0, 6.0), unsettles=True)


def _of_redis() -> Iterator[Kind]:
    everyone, redis, broker = (EVERYBODY,), ("redis",), ("broker",)
    killed, stopped, full = wounds.redis_killed, wounds.redis_stopped, wounds.disk_full
    yield Kind("redis killed", _whoever(killed), everyone, 3, (0.1, 1.5), redis, unsettles=True)
    yield Kind("redis stopped", _whoever(stopped), everyone, 2, (0.5, 4.0), redis, unsettles=True)
    yield Kind("disk full", _whoever(full), everyone, 1, (0.5, 2.0), redis, unsettles=True)
    yield Kind("scripts flushed", _whoever(wounds.scripts_flushed), everyone, 1, (0.0, 0.1), redis)
    yield Kind("broker flushed", _whoever(wounds.broker_flushed), everyone, 2, (0.0, 0.1), broker)


def _of_lines() -> Iterator[Kind]:
    def named(wound: Callable[..., AbstractContextManager[None]]) -> Callable[[str], Wound]:
        return lambda name: partial(wound, name)

    line = ("lines of *",)
    for name, wound, share, hold_s in (
        ("connections cut", wounds.cut, 3, (0.0, 0.1)),
        ("connections refused", wounds.refused, 2, (0.5, 3.0)),
        ("answers swallowed", wounds.swallowed, 3, (0.5, 2.0)),
        ("redis slow", wounds.delayed, 2, (2.0, 5.0)),
    ):
        yield Kind(name, named(wound), SERVICES, share, hold_s, line, unsettles=True)


def _of_providers() -> Iterator[Kind]:
    hold_s = (2.0, 4.0)
    for mood, share in (("errors", 2), ("garbage", 2), ("hangs", 1)):
        fails = partial(wounds.model_fails, mood)
        yield Kind(f"model {mood}", _whoever(fails), (EVERYBODY,), share, hold_s, ("model",))
    away, held = wounds.sentry_away, ("sentry",)
    yield Kind("sentry away", _whoever(away), (EVERYBODY,), 1, (2.0, 6.0), held)
    for mood, share in (("refuses", 2), ("breaks", 2)):
        fails = partial(wounds.provider_fails, mood)
        name, held = f"provider {mood}", ("provider",)
        yield Kind(name, _whoever(fails), (EVERYBODY,), share, hold_s, held)


KINDS = (*_of_processes(), *_of_redis(), *_of_lines(), *_of_providers())
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
        """The worker that may lose leases by it, EVERYBODY for any of them, None for nobody."""
        who = (EVERYBODY, *WORKERS, "other-worker")
        return self.victim if self.kind.unsettles and self.victim in who else None


def plan(seed: int, count: int, *, spacing_s: float) -> list[Planned]:
    """Return ``count`` faults, one every ``spacing_s`` on average, all kinds in turn."""
    rng = random.Random(seed)  # noqa: S311 - a plan to repeat, no secret
    planned: list[Planned] = []
    at_s, deck = 0.0, list[Kind]()
    for number in range(1, count + 1):
        if not deck:
            deck = [kind for kind in KINDS for _ in range(kind.share)]
            rng.shuffle(deck)
        kind = deck.pop()
        at_s += rng.uniform(0.4, 1.6) * spacing_s
        hold_s, victim = rng.uniform(*kind.hold_s), rng.choice(kind.victims)
        planned.append(Planned(number, at_s, hold_s, kind, victim, rng.randrange(1 << 32)))
    return planned
