"""The rounds: asks what may be wrong with the installation, and has a person told of it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import redis

from batching.errors import TransientError
from runtime import diagnosis
from runtime.diagnosis import Subject
from runtime.durability import Finding, Level

log = logging.getLogger(__name__)

#: How often the rounds are made, ms.
EVERY_MS = 10_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Concern:
    """A question that is worth an alarm. ``lasting_ms``: only if the trouble lasts so long.

    ``quiet_ms``: how long the installation then keeps quiet about it.
    """

    kind: str
    ask: Callable[[Subject], list[Finding]]
    lasting_ms: int = 0
    quiet_ms: int = HOUR_MS


CONCERNS = (
    Concern("unbalanced", diagnosis.balanced),
    # What is lost stays in the books, and the batch has had an alert of its own.
    Concern("lost", diagnosis.complete, quiet_ms=24 * HOUR_MS),
    Concern("durability", diagnosis.durable),
    Concern("memory", diagnosis.roomy),
    Concern("same_database", diagnosis.separate),
    # A deploy stops processes before it starts them.
    Concern("missing_role", diagnosis.roles, lasting_ms=60_000),
)


@dataclass(slots=True)
class Rounds:
    """Asks every question once a call. A Redis that is away is not its business: Tick tells."""

    subject: Subject
    #: Of each kind, how many rounds in a row have found trouble.
    seen: dict[str, int] = field(default_factory=dict)

    def __call__(self) -> None:
        """Make one round. Never raises."""
        for concern in CONCERNS:
            try:
                self._see_to(concern)
            except TransientError:
                return
            except redis.RedisError:
                # The broker's: the other questions are about the ledger.
                continue
            except Exception:
                log.exception("watch.failed", extra={"kind": concern.kind})

    def _see_to(self, concern: Concern) -> None:
        mistakes = [f for f in concern.ask(self.subject) if f.level is Level.MISTAKE]
        self.seen[concern.kind] = self.seen.get(concern.kind, 0) + 1 if mistakes else 0
        if not mistakes or (self.seen[concern.kind] - 1) * EVERY_MS < concern.lasting_ms:
            return
        problems = [f"{found.about}: {found.says}: {found.advice}" for found in mistakes]
        detail = "; ".join(problems)
        if not self.subject.store.alarm(concern.kind, detail, quiet_ms=concern.quiet_ms):
            return
        if concern.kind == "unbalanced":
            log.error("ledger.unbalanced", extra={"problems": problems})
        else:
            log.error("alarm.raised", extra={"kind": concern.kind, "problems": problems})
