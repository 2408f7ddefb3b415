"""What the trail says of the batch that an alert is about: its steps, how long it waits.

The conversation itself is not read: it holds what was written, which whoever alerts need not see.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batching.alerts import Alert, code_of
from batching.inspect import TRAIL_MAX, Step, read_step, to_number
from batching.store import Store, reached

#: So many steps of a batch are looked at for an alert about it.
BACKGROUND_STEPS_MAX = 20
#: With these a batch ends, and waits for nothing.
_ENDS = frozenset({"finish", "dead_letter", "discard"})


@dataclass(frozen=True, slots=True)
class Background:
    """What is known of the batch that an alert is about.

    ``steps``: the last BACKGROUND_STEPS_MAX. ``waited_ms``: from its first message to the alert, 0
    if unknown. ``stage``: what it waits for, "" if it has ended or collects.
    """

    steps: tuple[Step, ...] = ()
    waited_ms: int = 0
    stage: str = ""

    @property
    def code(self) -> str:
        """Return the code of the last failure, "" if nothing failed."""
        failed = (code_of(it.words[1]) for it in reversed(self.steps) if it.is_failure)
        return next(failed, "")


def backgrounds(store: Store, alerts: Sequence[Alert]) -> dict[str, Background]:
    """Return the background of each alert that is about a batch, by the alert's name.

    Raise LedgerUnavailableError.
    """
    about = [alert for alert in alerts if alert.conversation_id and alert.batch_id]
    pipeline: Any = store.client.pipeline(transaction=False)
    for alert in about:
        shard = store.shard_of(alert.conversation_id)
        pipeline.lrange(shard.trail(alert.conversation_id), -TRAIL_MAX, -1)
    with reached():
        trails = pipeline.execute()
    return {
        alert.name: _background(alert, trail) for alert, trail in zip(about, trails, strict=True)
    }


def _background(alert: Alert, trail: Sequence[bytes]) -> Background:
    known = filter(None, map(read_step, trail))
    steps = [step for step in known if step.batch_id == alert.batch_id]
    started_ms, stage = 0, ""
    for step in steps:
        match step.verb, step.words:
            case "collect", (_, first, *_):
                started_ms = to_number(first)
            case "overdue", (first, now_in):
                started_ms, stage = to_number(first), now_in
            case "begin", (now_in, *_):
                stage = now_in
            case verb, _ if verb in _ENDS:
                stage = ""
    return Background(
        steps=tuple(steps[-BACKGROUND_STEPS_MAX:]),
        waited_ms=max(0, alert.at_ms - started_ms) if started_ms else 0,
        stage=stage,
    )
