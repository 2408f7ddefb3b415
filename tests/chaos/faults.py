"""The catalogue of faults, and the plan of a run: which happens when, drawn from a seed."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from tests.chaos import wounds
from tests.chaos.site import SERVICES, WORKERS
from tests.chaos.wounds import Scene

#: Any worker may lose a lease without knowing.
EVERYBODY = ""

#: Takes the victim, the scene and random numbers.
Wound = Callable[[str, Scene, random.Random], AbstractContextManager[None]]


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
    unsettles: bool = False


_WITH_CHILDREN = ("web", *WORKERS)
_killed, _stopped = partial(wounds.killed, child=False), partial(wounds.stopped, child=False)
_child_killed, _child_stopped = (
    partial(wounds.killed, child=True),
    partial(wounds.stopped, child=True),
)
_LINE, _REDIS, _BROKER = ("lines of *",), ("redis",), ("broker",)
_MODEL, _PROVIDER, _SENTRY = ("model",), ("provider",), ("sentry",)


def _model(mood: str, share: int) -> Kind:
    wound = partial(wounds.model_fails, mood=mood)
    return Kind(f"model {mood}", wound, share, (2.0, 4.0), targets=_MODEL)


def _provider(mood: str, share: int) -> Kind:
    wound = partial(wounds.provider_fails, mood=mood)
    return Kind(f"provider {mood}", wound, share, (2.0, 4.0), targets=_PROVIDER)


def _line(name: str, wound: Wound, share: int, hold_s: tuple[float, float]) -> Kind:
    return Kind(name, wound, share, hold_s, SERVICES, _LINE, unsettles=True)


def _redis(name: str, wound: Wound, share: int, hold_s: tuple[float, float]) -> Kind:
    return Kind(name, wound, share, hold_s, targets=_REDIS, unsettles=True)


KINDS = (
    Kind("master killed", _killed, 2, (1.2, 1.5), SERVICES, unsettles=True),
    Kind("child killed", _child_killed, 2, (0.2, 1.5), _WITH_CHILDREN, unsettles=True),
    Kind("master stopped", _stopped, 1, (1.0, 4.0), SERVICES, unsettles=True),
    Kind("child stopped", _child_stopped, 2, (3.0, 7.0), _WITH_CHILDREN, unsettles=True),
    Kind("terminated", wounds.terminated, 1, (0.1, 0.5), SERVICES, unsettles=True),
    Kind("fleet restarted", wounds.terminated, 1, (0.1, 1.0), targets=SERVICES, unsettles=True),
    Kind("other release", wounds.other_release, 1, (3.0, 6.0), ("other-worker",), unsettles=True),
    _redis("redis killed", wounds.redis_killed, 3, (0.1, 1.5)),
    _redis("redis stopped", wounds.redis_stopped, 2, (0.5, 4.0)),
    _redis("disk full", wounds.disk_full, 1, (0.5, 2.0)),
    Kind("scripts flushed", wounds.scripts_flushed, 1, (0.0, 0.1), targets=_REDIS),
    Kind("broker flushed", wounds.broker_flushed, 2, (0.0, 0.1), targets=_BROKER),
    _line("connections cut", wounds.cut, 3, (0.0, 0.1)),
    _line("connections refused", wounds.refused, 2, (0.5, 3.0)),
    _line("answers swallowed", wounds.swallowed, 3, (0.5, 2.0)),
    _line("redis slow", wounds.delayed, 2, (2.0, 5.0)),
    _model("errors", 2),
    _model("garbage", 2),
    _model("hangs", 1),
    Kind("sentry away", wounds.sentry_away, 1, (2.0, 6.0), targets=_SENTRY),
    _provider("refuses", 2),
    _provider("breaks", 2),
)
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
