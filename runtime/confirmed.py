"""Events that must arrive: captured, sent, and believed only when Sentry has answered for each."""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.transport import HttpTransport
from sentry_sdk.types import Event

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

SEND_S_MAX = 10
_REMEMBERED = 1_000


class ConfirmingTransport(HttpTransport):
    """Remembers which events Sentry took. The SDK's own knows only which it dropped itself."""

    def __init__(self, options: dict[str, object]) -> None:
        super().__init__(options)
        self.confirmed: deque[str] = deque(maxlen=_REMEMBERED)

    def _handle_response(
        self,
        response: Any,  # noqa: ANN401 - the HTTP library's, which is the SDK's business
        envelope: "Envelope | None",
    ) -> None:
        super()._handle_response(response=response, envelope=envelope)
        event = envelope.get_event() if envelope else None
        if event and response.status in range(200, 300):
            self.confirmed.append(event["event_id"])


def deliver(events: Iterable[Event]) -> set[str]:
    """Send events and return the ids of those that Sentry took within SEND_S_MAX.

    Without a DSN none is. Safe to run twice with the same ids.
    """
    ids = {sentry_sdk.capture_event(event) for event in events}
    sentry_sdk.flush(timeout=SEND_S_MAX)
    transport = sentry_sdk.get_client().transport
    if not isinstance(transport, ConfirmingTransport):
        return set()
    return {event_id for event_id in ids if event_id and event_id in transport.confirmed}
