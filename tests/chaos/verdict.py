"""What a run came to: its history made whole, judged, and counted."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batching.inspect import DeadLetter
from batching.model import Tag
from tests.chaos.record import Healed, Noted, Refused, Struck
from tests.chaos.sink import Alert
from tests.history.checker import DROPS, check
from tests.history.events import (
    Accepted,
    Alerted,
    Asked,
    Died,
    Doubted,
    Happening,
    Offered,
    Paused,
    Replied,
    Taken,
)

#: How long after a fault a call that began under it may still run, ms: the callers' patience.
TAIL_MS = 3_000


def whole(
    events: Sequence[Noted], letters: Sequence[DeadLetter], alerts: Sequence[Alert]
) -> list[Happening]:
    """Return the history with the dead, the alerts, and the moments when leases may be lost."""
    shaken = _shaken(events)
    history: list[Happening] = []
    for event in events:
        if isinstance(event, Struck | Healed | Refused):
            continue
        history.append(event)
        if isinstance(event, Asked):
            who = {worker for since, until, worker in shaken if since <= event.at_ms <= until}
            history += [Paused(event.at_ms, worker) for worker in sorted(who)]
    end_ms = events[-1].at_ms if events else 0
    dead = {f"{letter.conversation_id}:{letter.batch_id}": letter for letter in letters}
    for batch, letter in dead.items():
        words = tuple(message.text for message in letter.messages)
        history.append(Died(end_ms, batch, words))
    settled = {alert.batch for alert in alerts if alert.kind in DROPS} - set(dead)
    history += [Died(end_ms, *found) for found in sorted(_said(events, settled).items())]
    history += [Alerted(end_ms, alert.kind, alert.batch) for alert in alerts]
    return history


def _shaken(events: Sequence[Noted]) -> list[tuple[int, int, str]]:
    """Return when who may have lost a lease: from, until, the worker or "" for any."""
    end_ms = events[-1].at_ms if events else 0
    healed = {event.number: event.at_ms for event in events if isinstance(event, Healed)}
    return [
        (event.at_ms, healed.get(event.number, end_ms) + TAIL_MS, event.unsettles)
        for event in events
        if isinstance(event, Struck) and event.unsettles is not None
    ]


def _said(events: Sequence[Noted], batches: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the words of those batches that a late status raised from the dead: they were sent."""
    known = {event.word for event in events if isinstance(event, Offered)}
    found: dict[str, tuple[str, ...]] = {}
    for event in events:
        if isinstance(event, Taken) and (batch := batch_of(event.tag)) in batches:
            found[batch] = tuple(word for word in event.text.split() if word in known)
    return found


def batch_of(tag: str) -> str:
    """Return the batch that a tag of ours names, "" where it is none."""
    ours = Tag.parse(tag)
    return f"{ours.conversation_id}:{ours.batch_id}" if ours else ""


def judge(history: Sequence[Happening], *, resend: frozenset[str], max_attempts: int) -> list[str]:
    """Return every promise that was broken."""
    return check(history, resend=resend, max_attempts=max_attempts)


@dataclass(frozen=True, slots=True)
class Figures:
    """The counts of a run. Times are ms."""

    accepted: int
    refused: int
    asked: int
    answered: int
    dead: int
    doubted: int
    copies: int
    overlaps: int
    waited_ms_max: int


def count(history: Sequence[Happening], events: Sequence[Noted]) -> Figures:
    """Return the figures of a history."""
    accepted_ms, answered_ms = moments(events)
    texts = Counter(event.tag for event in history if isinstance(event, Taken))
    dead = {word for event in history if isinstance(event, Died) for word in event.words}
    silent = {event.word for event in events if isinstance(event, Offered) and event.silent}
    waits = [answered_ms[word] - at for word, at in accepted_ms.items() if word in answered_ms]
    return Figures(
        accepted=len(accepted_ms),
        refused=sum(isinstance(event, Refused) for event in events),
        asked=sum(isinstance(event, Asked) for event in events),
        answered=len(answered_ms),
        dead=len((dead & set(accepted_ms)) - set(answered_ms) - silent),
        doubted=len({event.tag for event in history if isinstance(event, Doubted)}),
        copies=sum(times - 1 for times in texts.values()),
        overlaps=sum(_overlaps(history)),
        waited_ms_max=max(waits, default=0),
    )


def moments(events: Sequence[Noted]) -> tuple[dict[str, int], dict[str, int]]:
    """Return when each word was first accepted, and when an answer to it was first taken, ms."""
    accepted: dict[str, int] = {}
    answered: dict[str, int] = {}
    known = {event.word for event in events if isinstance(event, Offered)}
    for event in events:
        if isinstance(event, Accepted):
            accepted.setdefault(event.word, event.at_ms)
        elif isinstance(event, Taken):
            for word in set(event.text.split()) & known:
                answered.setdefault(word, event.at_ms)
    return accepted, answered


def recoveries(events: Sequence[Noted]) -> dict[str, list[int]]:
    """Return by kind how long after each fault a message accepted then was answered, ms."""
    accepted, answered = moments(events)
    spans = sorted((at, answered[word]) for word, at in accepted.items() if word in answered)
    kinds = {event.number: event.kind for event in events if isinstance(event, Struck)}
    found: defaultdict[str, list[int]] = defaultdict(list)
    for event in events:
        if isinstance(event, Healed):
            after = [end for start, end in spans if min(start, end) >= event.at_ms]
            if after:
                found[kinds[event.number]].append(min(after) - event.at_ms)
    return dict(found)


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
