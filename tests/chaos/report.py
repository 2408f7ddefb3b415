"""The figures of a run, and the table of them. What is wrong is the judge's part."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.chaos.faults import Planned
from tests.chaos.record import Healed, Noted, Refused, Struck, accepted_ms, answered_ms
from tests.history.events import Asked, Died, Happening, Offered, Replied, Taken

PROBLEMS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Figures:
    """The counts of a run. Times are ms."""

    accepted: int
    refused: int
    asked: int
    answered: int
    dead: int
    copies: int
    overlaps: int
    waited_ms_max: int


def count(history: Sequence[Happening], events: Sequence[Noted]) -> Figures:
    accepted, answered = accepted_ms(events), answered_ms(events)
    texts = Counter(event.tag for event in history if isinstance(event, Taken))
    dead = {word for event in history if isinstance(event, Died) for word in event.words}
    silent = {event.word for event in events if isinstance(event, Offered) and event.silent}
    waits = [answered[word] - at for word, at in accepted.items() if word in answered]
    return Figures(
        accepted=len(accepted),
        refused=sum(isinstance(event, Refused) for event in events),
        asked=sum(isinstance(event, Asked) for event in events),
        answered=len(answered),
        dead=len((dead & set(accepted)) - set(answered) - silent),
        copies=sum(times - 1 for times in texts.values()),
        overlaps=sum(_overlaps(history)),
        waited_ms_max=max(waits, default=0),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run; ``problems`` must be empty."""

    problems: list[str]
    figures: Figures
    stats: dict[str, int]
    recoveries: dict[str, list[int]]
    waits: dict[str, list[int]]
    skipped: dict[str, str]
    restarts: int
    lasted_s: int
    calm_s: int


def table(plan: Sequence[Planned], outcome: Outcome) -> str:
    figures, stats = outcome.figures, Counter(outcome.stats)
    done = Counter(fault.kind.name for fault in plan if fault.kind.name not in outcome.skipped)
    reasons = {k.partition(":")[2]: v for k, v in sorted(stats.items()) if k.startswith("dead:")}
    lines = [f"{'fault':<22}{'times':>6}   recovered after, ms: median and longest"]
    for name, times in sorted(done.items()):
        spans = outcome.recoveries.get(name)
        shown = f"{median(spans):>7.0f} {max(spans):>7}" if spans else ""
        lines.append(f"{name:<22}{times:>6}   {shown}")
    lines += [_waits_line(name, spans) for name, spans in sorted(outcome.waits.items())]
    lines += [f"{name}: skipped, {reason}" for name, reason in outcome.skipped.items()]
    return "\n".join([
        *lines,
        f"{'together':<22}{sum(done.values()):>6}",
        f"lasted {outcome.lasted_s} s, the last {outcome.calm_s} s without faults",
        f"services started again {outcome.restarts} times",
        f"messages acknowledged {figures.accepted}, webhooks refused {figures.refused}",
        f"answered {figures.answered}, dead letters {figures.dead}",
        f"suppressed {stats['suppressed']}, duplicates recognised {stats['duplicate']}",
        f"models asked {figures.asked} times, {figures.overlaps} beside a call without lease",
        f"texts in doubt {stats['ambiguous']}, sent again by policy {figures.copies}",
        f"longest wait for an answer {figures.waited_ms_max} ms",
        f"dead letters by reason: {reasons}",
        f"lost, unalerted or otherwise broken: {len(outcome.problems)}",
        *outcome.problems[:PROBLEMS_SHOWN],
    ])  # fmt: skip


def recoveries(events: Sequence[Noted]) -> dict[str, list[int]]:
    """Return by kind how long after each fault a message accepted then was answered, ms."""
    accepted, answered = accepted_ms(events), answered_ms(events)
    spans = sorted((at, answered[word]) for word, at in accepted.items() if word in answered)
    kinds = {event.number: event.kind for event in events if isinstance(event, Struck)}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if isinstance(event, Healed):
            after = [end for start, end in spans if min(start, end) >= event.at_ms]
            if after:
                found[kinds[event.number]].append(min(after) - event.at_ms)
    return dict(found)


def waits(events: Sequence[Noted]) -> dict[str, list[int]]:
    """Return by kind of kill how long after it each message that waited then was answered, ms."""
    accepted, answered = accepted_ms(events), answered_ms(events)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if isinstance(event, Struck) and event.kind.endswith("killed"):
            found[event.kind] += [
                answered[word] - event.at_ms
                for word, at_ms in accepted.items()
                if at_ms <= event.at_ms < answered.get(word, 0)
            ]
    return dict(found)


def _waits_line(name: str, spans: Sequence[int]) -> str:
    ranked = sorted(spans) or [0]
    late = ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)]
    return (
        f"{name}: {len(spans)} waited, answered after {median(ranked):.0f} ms (median), "
        f"{late} ms (p99), {ranked[-1]} ms (longest)"
    )


def _overlaps(history: Sequence[Happening]) -> Iterator[bool]:
    """Yield whether each call began while another about the same customer ran."""
    owners = {
        event.word: (event.account, event.customer)
        for event in history
        if isinstance(event, Offered)
    }
    running: dict[int, tuple[str, str]] = {}
    for event in history:
        if isinstance(event, Asked):
            owner = owners.get(event.words[0], ("", ""))
            yield owner in running.values()
            running[event.call] = owner
        elif isinstance(event, Replied):
            running.pop(event.call, None)
