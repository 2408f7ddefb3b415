"""Puts the outcome of a run into a table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from tests.chaos.faults import Planned
from tests.chaos.run import Outcome

PROBLEMS_SHOWN = 40


def table(plan: Sequence[Planned], outcome: Outcome) -> str:
    """Return the report, in lines."""
    return "\n".join([*_faults(plan, outcome), "", *_figures(outcome), "", *_problems(outcome)])


def _faults(plan: Sequence[Planned], outcome: Outcome) -> Iterator[str]:
    done = Counter(
        planned.kind.name for planned in plan if planned.kind.name not in outcome.skipped
    )
    yield f"{'fault':<22}{'times':>6}   recovered after, ms: median and longest"
    for name, times in sorted(done.items()):
        spans = sorted(outcome.recoveries.get(name, []))
        shown = f"{median(spans):>7.0f} {spans[-1]:>7}" if spans else ""
        yield f"{name:<22}{times:>6}   {shown}"
    yield f"{'together':<22}{sum(done.values()):>6}"
    for name, reason in outcome.skipped.items():
        yield f"{name}: skipped, {reason}"


def _figures(outcome: Outcome) -> Iterator[str]:
    figures, stats = outcome.figures, Counter(outcome.stats)
    yield f"lasted {outcome.lasted_s} s, the last {outcome.calm_s} s without faults"
    yield f"services started again {outcome.restarts} times"
    yield f"messages acknowledged {figures.accepted}, webhooks refused {figures.refused}"
    yield f"answered {figures.answered}, dead and told {figures.dead}"
    yield f"suppressed {stats['suppressed']}, duplicates recognised {stats['duplicate']}"
    yield f"models asked {figures.asked} times, {figures.overlaps} beside a call without lease"
    yield f"texts in doubt {stats['ambiguous']}, sent again by policy {figures.copies}"
    yield f"longest wait for an answer {figures.waited_ms_max} ms"
    reasons = {k.partition(":")[2]: v for k, v in sorted(stats.items()) if k.startswith("dead:")}
    yield f"dead letters by reason: {reasons}"


def _problems(outcome: Outcome) -> Iterator[str]:
    yield f"lost, unalerted or otherwise broken: {len(outcome.problems)}"
    yield from outcome.problems[:PROBLEMS_SHOWN]
