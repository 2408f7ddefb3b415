"""Tell our own systems what became of batches, by signed webhooks as standardwebhooks.com has them.

A call holds no text, name or number of a customer. One that fails is repeated by the ledger
(batching/outbox.py); while nobody answers at all, calls rest.
"""

import base64
import hashlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx2

from batching.errors import TransientError
from batching.outbox import Outbox, Outgoing
from batching.store import Store
from httpjson import CallError, call_json

log = logging.getLogger(__name__)

#: How long one call may take, ms; the standard asks for 15 to 30 s at least.
CALL_MS, CONNECT_MS = 15_000, 5_000
#: How long calls rest after one without an answer, s; doubled with each further one.
REST_S, REST_S_MAX = 1.0, 60.0
#: How long the alert that a call was given up is not repeated, ms.
LOST_COOLDOWN_MS = 3_600_000
_PREFIX = "whsec_"
#: Makes the id of an event, the same at every attempt.
_NAMESPACE = uuid.UUID("0d2c5a57-6d3e-4c0b-9f3b-2a7a4c8f1e60")


def signed(secrets: str, event_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of a call; ``secrets``: one, or two with a space between."""
    signed_text = b".".join((event_id.encode(), str(at_s).encode(), body))
    keys = [base64.b64decode(it.removeprefix(_PREFIX) + "==") for it in secrets.split()]
    digests = [hmac.new(key, signed_text, hashlib.sha256).digest() for key in keys]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(it).decode()}" for it in digests),
    }


def body_of(told: Outgoing) -> bytes:
    """Return what is told of a batch: digests, codes, numbers and times."""
    data: Mapping[str, object] = {
        "account": told.account_id,
        "conversation": told.conversation_id,
        "batch": told.batch_id,
        "messages": told.messages,
        "reason": told.reason,
        "code": told.code,
    }
    return _body(
        f"conversation.{told.event}", told.at_ms, {it: v for it, v in data.items() if v != ""}
    )


def trial_body(now_ms: int) -> bytes:
    """Return what ``manage.py notify test`` tells."""
    return _body("test", now_ms, {})


def _body(kind: str, at_ms: int, data: Mapping[str, object]) -> bytes:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"type": kind, "timestamp": at.replace("+00:00", "Z"), "data": data}).encode()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events are told."""

    url: str = field(repr=False)
    secrets: str = field(repr=False)
    http: httpx2.Client

    def tell(self, event_id: str, body: bytes) -> str:
        """Call once; return why it was not taken, "" if it was."""
        headers = signed(self.secrets, event_id, int(time.time()), body)
        try:
            reply = call_json(
                self.http,
                self.url,
                body,
                headers=headers,
                timeout_ms=CALL_MS,
                connect_ms_max=CONNECT_MS,
            )
        except CallError as error:
            return error.failure.value
        return "" if reply.is_success else f"http_{reply.status}"


@dataclass(slots=True)
class Publisher:
    """Tells ``endpoint`` what is in the ledger's outbox; closes the outbox without an endpoint."""

    store: Store
    ledger_id: str
    endpoint: Endpoint | None
    clock: Callable[[], float] = time.monotonic
    _rest_s: float = REST_S
    _rests_until: float = 0.0
    _is_ready: bool = False

    def __call__(self) -> None:
        """Tell what is due. Never raises TransientError."""
        outbox = Outbox(self.store)
        try:
            self._make_ready(outbox)
            if self.endpoint and self.clock() >= self._rests_until:
                for told in outbox.take():
                    if not self._tell(self.endpoint, outbox, told):
                        break
        except TransientError as error:
            log.warning("event.delayed", extra={"code": error.code})

    def _make_ready(self, outbox: Outbox) -> None:
        """Open or close the outbox, once."""
        if not self._is_ready:
            outbox.open() if self.endpoint else outbox.close()
            self._is_ready = True

    def _tell(self, endpoint: Endpoint, outbox: Outbox, told: Outgoing) -> bool:
        """Tell one; return whether somebody answered."""
        event_id = f"msg_{uuid.uuid5(_NAMESPACE, f'{self.ledger_id}:{told.name}').hex}"
        code = endpoint.tell(event_id, body_of(told))
        if not code:
            outbox.done(told)
        else:
            fields = {"event_type": told.event, "batch": told.batch_id, "code": code}
            log.warning("event.delayed", extra=fields)
            if outbox.attempts_left(told) <= 0:
                outbox.give_up(told, code)
                self.store.alert_once("events_lost", code, cooldown_ms=LOST_COOLDOWN_MS)
        is_answered = not code or code.startswith("http_")
        self._rest_s = REST_S if is_answered else min(2 * self._rest_s, REST_S_MAX)
        self._rests_until = 0.0 if is_answered else self.clock() + self._rest_s
        return is_answered
