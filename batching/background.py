"""What the ledger knows of the batch that an alert is about: its steps, how long it waits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from batching.alerts import Alert, code_of
from batching.inspect import TRAIL_MAX, Step, read_step, to_number
from batching.store import Store, reached

#: So many steps of a batch are looked at for an alert about it.
BACKGROUND_STEPS_MAX = 20
_WHEN = ("id", "first", "stage", "open_id", "open_first")


@dataclass(frozen=True, slots=True)
class Background:
    """What the ledger knows of the batch that an alert is about.

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
        shard, conversation_id = store.shard_of(alert.conversation_id), alert.conversation_id
        pipeline.lrange(shard.trail(conversation_id), -TRAIL_MAX, -1)
        pipeline.hmget(shard.batches(conversation_id), *_WHEN)
    with reached():
        answers = pipeline.execute()
    return {
        alert.name: _background(alert, trail, kept)
        for alert, trail, kept in zip(about, answers[::2], answers[1::2], strict=True)
    }


def _background(alert: Alert, trail: Sequence[bytes], kept: Sequence[bytes | None]) -> Background:
    known = filter(None, map(read_step, trail))
    steps = [step for step in known if step.batch_id == alert.batch_id]
    batch, first, stage, opened, open_first = ((it or b"").decode() for it in kept)
    collected = (it.words[1] for it in steps if it.verb == "collect" and it.words[1:])
    started = {opened: open_first, batch: first}.get(alert.batch_id) or next(collected, "")
    started_ms = to_number(started)
    return Background(
        steps=tuple(steps[-BACKGROUND_STEPS_MAX:]),
        waited_ms=max(0, alert.at_ms - started_ms) if started_ms else 0,
        stage=stage if batch == alert.batch_id else "",
    )
