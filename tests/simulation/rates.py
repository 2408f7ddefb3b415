"""What one seed is about: how often each thing goes wrong, and how the installation is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    "status_of_another": 0.3,
    "echo": 0.3,
    "account_unknown": 0.1,
    "worker_ends": 0.6,
}
#: What people and fate do during a day, and how often at most.
DEEDS = {
    "take_over": 2,
    "operate": 6,
    "erase": 2,
    "step_clock": 3,
    "cut_off": 2,
    "stop_account": 2,
    "stop_model": 2,
    "flush_scripts": 2,
}


@dataclass(frozen=True, slots=True)
class Setup:
    """One installation and its day.

    ``rates``: the chance of each fault per occasion; ``deeds``: how often each of DEEDS is done.
    ``supersede``: the accounts whose answers are made anew, and how often at most.
    """

    rates: Mapping[str, float]
    limits: tuple[Limits, Limits]
    timing: Timing
    shards: int
    resend: frozenset[str]
    flushers: int
    flush_limit: int
    day_ms: int
    messages: int
    customers: int
    deeds: Mapping[str, int]
    supersede: Mapping[str, int]

    def limits_of(self, limits: Limits, account_id: str) -> Limits:
        """Return limits of one process as an account has them there."""
        return replace(limits, supersede_max=self.supersede.get(account_id, 0))


def draw(rng: Random) -> Setup:
    """Return what a seed is about."""
    chosen = {name: _sometimes(rng, most) for name, most in MOST.items()}
    quiet = rng.random() < 0.1
    same = rng.random() < 0.4
    limits = _limits(rng)
    setup = Setup(
        rates=dict.fromkeys(MOST, 0.0) if quiet else chosen,
        limits=(limits, limits if same else _limits(rng)),
        timing=Timing(
            waiting_max=rng.choice((4, 200, 200)),
            overflow_ms=rng.choice((10_000, 600_000)),
            takeover_ms=rng.choice((60_000, 300_000)),
        ),
        shards=rng.choice((1, 1, 2)),
        resend=rng.choice((frozenset(), frozenset({"sister"}), frozenset({"salon", "sister"}))),
        flushers=rng.randint(1, 3),
        flush_limit=rng.choice((1, 2, 100)),
        day_ms=rng.randint(60_000, 360_000),
        messages=rng.randint(6, 40),
        customers=rng.randint(1, 3),
        deeds={name: _count(rng, name, most) for name, most in DEEDS.items()},
        supersede={},
    )
    # Drawn apart, so that the day takes the same course.
    own = Random(f"{setup.day_ms} supersede")  # noqa: S311 - a day, no secret
    accounts = own.choice(((), ("salon",), ("sister",), ("salon", "sister")))
    return replace(setup, supersede={name: own.choice((1, 3, 9)) for name in accounts})


def _sometimes(rng: Random, most: float) -> float:
    return rng.uniform(0, most) if rng.random() < 0.5 else 0.0


def _count(rng: Random, name: str, most: int) -> int:
    if name == "erase" and rng.random() >= 0.5:
        return 0
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
