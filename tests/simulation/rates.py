"""What one seed is about: how often each thing goes wrong, and how the installation is set up."""

from dataclasses import dataclass, fields
from random import Random

from batching.model import Limits, Timing

#: How often at most, as a chance per occasion. Half of them are zero in any one seed: a fault
#: that is always there hides those that need a quiet world to show.
MOST = {
    "crash": 0.04,
    "stall": 0.03,
    "ambush": 0.9,
    "interleave": 0.9,
    "unavailable": 0.04,
    "reply_lost": 0.05,
    "executed_twice": 0.05,
    "executed_late": 0.03,
    "cut_short": 0.2,
    "wake_up_lost": 0.4,
    "wake_up_refused": 0.2,
    "wake_up_twice": 0.4,
    "wake_up_late": 0.2,
    "wake_up_stale": 0.3,
    "webhook_again": 0.4,
    "webhook_twice_at_once": 0.2,
    "webhook_shared": 0.5,
    "model_transient": 0.4,
    "model_permanent": 0.1,
    "model_empty": 0.1,
    "model_slow": 0.2,
    "model_bug": 0.05,
    "provider_transient": 0.3,
    "provider_permanent": 0.1,
    "provider_doubt_untaken": 0.2,
    "provider_doubt_taken": 0.3,
    "provider_bug": 0.1,
    "status_lost": 0.7,
    "status_late": 0.5,
    "status_twice": 0.4,
    "status_failed": 0.2,
    "status_untagged": 0.5,
    "echo": 0.3,
    "account_unknown": 0.1,
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Chances per occasion, 0 to 1; see MOST."""

    crash: float = 0
    stall: float = 0
    ambush: float = 0
    interleave: float = 0
    unavailable: float = 0
    reply_lost: float = 0
    executed_twice: float = 0
    executed_late: float = 0
    cut_short: float = 0
    wake_up_lost: float = 0
    wake_up_refused: float = 0
    wake_up_twice: float = 0
    wake_up_late: float = 0
    wake_up_stale: float = 0
    webhook_again: float = 0
    webhook_twice_at_once: float = 0
    webhook_shared: float = 0
    model_transient: float = 0
    model_permanent: float = 0
    model_empty: float = 0
    model_slow: float = 0
    model_bug: float = 0
    provider_transient: float = 0
    provider_permanent: float = 0
    provider_doubt_untaken: float = 0
    provider_doubt_taken: float = 0
    provider_bug: float = 0
    status_lost: float = 0
    status_late: float = 0
    status_twice: float = 0
    status_failed: float = 0
    status_untagged: float = 0
    echo: float = 0
    account_unknown: float = 0

    def __str__(self) -> str:
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return " ".join(f"{name}={rate:.3f}" for name, rate in shown.items() if rate)


CALM = Rates()


@dataclass(frozen=True, slots=True)
class Setup:
    """One installation and its day. ``*_count`` is how often that happens during the day."""

    rates: Rates
    limits: tuple[Limits, Limits]
    timing: Timing
    shards: int
    resend: frozenset[str]
    flushers: int
    flush_limit: int
    day_ms: int
    messages: int
    customers: int
    takeover_count: int
    operator_count: int
    erase_count: int
    clock_step_count: int
    outage_count: int
    stopped_count: int
    script_flush_count: int


def draw(rng: Random) -> Setup:
    """Return what a seed is about."""
    chosen = {name: _sometimes(rng, most) for name, most in MOST.items()}
    quiet = rng.random() < 0.1
    same = rng.random() < 0.4
    limits = _limits(rng)
    return Setup(
        rates=CALM if quiet else Rates(**chosen),
        limits=(limits, limits if same else _limits(rng)),
        timing=Timing(
            waiting_max=rng.choice((4, 200, 200)), takeover_ms=rng.choice((60_000, 300_000))
        ),
        shards=rng.choice((1, 1, 2)),
        resend=rng.choice((frozenset(), frozenset({"sister"}), frozenset({"salon", "sister"}))),
        flushers=rng.randint(1, 3),
        flush_limit=rng.choice((1, 2, 100)),
        day_ms=rng.randint(60_000, 360_000),
        messages=rng.randint(6, 40),
        customers=rng.randint(1, 3),
        takeover_count=_count(rng, 2),
        operator_count=_count(rng, 6),
        erase_count=_count(rng, 2) if rng.random() < 0.5 else 0,
        clock_step_count=_count(rng, 3),
        outage_count=_count(rng, 2),
        stopped_count=_count(rng, 2),
        script_flush_count=_count(rng, 2),
    )


def _sometimes(rng: Random, most: float) -> float:
    return rng.uniform(0, most) if rng.random() < 0.5 else 0.0


def _count(rng: Random, most: int) -> int:
    return rng.randint(1, most) if rng.random() < 0.5 else 0


def _limits(rng: Random) -> Limits:
    return Limits(
        idle_ms=rng.choice((1_000, 9_000)),
        max_messages=rng.choice((2, 4, 10)),
        max_wait_ms=rng.choice((15_000, 45_000)),
        overdue_ms=120_000,
        reply_deadline_ms=rng.choice((300_000, 86_400_000, 86_400_000)),
        lease_ms=rng.choice((10_000, 30_000)),
        max_attempts=rng.choice((2, 3, 8)),
    )
