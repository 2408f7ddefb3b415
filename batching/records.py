"""What the ledger gives back, in Python's terms."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from batching.encoding import decode
from batching.limits import Limits
from batching.model import InboundMessage, Ring, Stage


class Status(StrEnum):
    """What became of a message at the door."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The ledger's answer to one message.

    ``batch_id``, ``count`` and ``due_ms`` are those of the open batch, "" and 0 if the message
    is in none. ``flusher_lag_ms``: since a flusher last collected from this very Redis, -1 if
    none ever did, -2 where the script does not tell.
    """

    status: Status
    conversation_id: str
    batch_id: str = ""
    count: int = 0
    due_ms: int = 0
    flusher_lag_ms: int = -2


@dataclass(frozen=True, slots=True)
class Collected:
    """A batch that was just put in flight. ``why``: size, age or idle.

    vanished: the conversation was due and its batch is missing; ``batch_id`` is "".
    """

    conversation_id: str
    account_id: str
    batch_id: str
    count: int
    waited_ms: int
    why: str

    @property
    def ring(self) -> Ring:
        """The doorbell that starts it."""
        return Ring(self.conversation_id, self.batch_id, 1, Stage.GENERATE)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A batch of which a person was just told that it waits too long."""

    conversation_id: str
    batch_id: str
    account_id: str


class Verdict(StrEnum):
    """What is to be done about a batch whose lease ran out."""

    RING = "ring"
    SPENT = "spent"
    AMBIGUOUS = "ambiguous"
    UNRESOLVED = "unresolved"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class Reaped:
    """A batch whose lease ran out. ``token`` and ``policy`` are "" where it has none."""

    ring: Ring
    account_id: str
    verdict: Verdict
    token: str
    policy: str


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at one stage of a batch, held under ``token`` until its lease runs out.

    ``count`` messages were accepted; fewer in ``messages`` means that some vanished.
    ``parts`` is the reply and ``part`` the first that has not left, once there is a reply.
    """

    ring: Ring
    token: str
    account_id: str
    now_ms: int
    first_ms: int
    limits: Limits
    count: int
    messages: tuple[InboundMessage, ...]
    parts: tuple[str, ...] = ()
    part: int = 0
    taken_over: bool = False

    @property
    def age_ms(self) -> int:
        """How long the batch's first message has waited."""
        return self.now_ms - self.first_ms

    @property
    def turn(self) -> str:
        """The batch as the model sees it: the texts in order of arrival, one a line."""
        return "\n".join(message.text for message in self.messages)


@dataclass(frozen=True, slots=True)
class Watch:
    """One cheap look at all shards: earliest due and lease, latest heartbeat; None for none."""

    now_ms: int
    due_ms: int | None
    lease_ms: int | None
    heartbeat_ms: int | None

    @property
    def flusher_lag_ms(self) -> int:
        """How long ago a flusher last collected from this very Redis, -1 if none ever did."""
        return -1 if self.heartbeat_ms is None else max(0, self.now_ms - self.heartbeat_ms)


@dataclass(frozen=True, slots=True)
class Peek:
    """What a conversation is doing now; for people to look at, never to decide by."""

    now_ms: int
    open_count: int
    due_ms: int | None
    flight_count: int
    stage: Stage | None
    state: str | None


def decode_run(ring: Ring, fields: list[Any]) -> Run:
    """Return the run that ``begin.lua`` describes."""
    now_ms, token, account, first_ms, stamp, count, reply, part, taken_over, *messages = fields
    account_id = account.decode()
    return Run(
        ring=ring,
        token=token.decode(),
        account_id=account_id,
        now_ms=now_ms,
        first_ms=first_ms,
        limits=Limits.from_stamp(stamp.decode()),
        count=count,
        messages=tuple(decode(account_id, raw) for raw in messages),
        parts=tuple(json.loads(reply)) if reply else (),
        part=part,
        taken_over=bool(taken_over),
    )
