"""A Graph API of our own: takes messages like WhatsApp's, and fails with its error codes."""

import itertools
from dataclasses import dataclass

from tests.e2e.behaviours import Answer, Request
from tests.e2e.recording_server import RecordingServer


def graph_error(code: int, *, status: int = 400) -> Answer:
    """Return the refusal that WhatsApp sends for ``code``."""
    return Answer(
        status,
        {
            "error": {
                "message": f"(#{code}) refused",
                "type": "OAuthException",
                "code": code,
                "error_data": {"messaging_product": "whatsapp", "details": "refused"},
                "fbtrace_id": "invented",
            }
        },
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """One text that was handed to WhatsApp, taken or not."""

    phone_number_id: str
    to: str
    text: str
    tag: str


class FakeGraph(RecordingServer):
    """Takes every text, unless something else is scripted for the customer it is for.

    Reading marks and typing signs are taken too, under the key "".
    """

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        super().__init__(_customer_of, self._accept)

    def sent_to(self, customer: str) -> list[Sent]:
        """Return every text offered for ``customer``, in order, taken or not."""
        return [_sent_of(request) for request in self.requests_of(customer)]

    def _accept(self, request: Request) -> Answer:
        if not _customer_of(request):
            return Answer(body={"success": True})
        number = next(self._ids)
        return Answer(
            body={
                "messaging_product": "whatsapp",
                "contacts": [{"input": request.body["to"], "wa_id": request.body["to"]}],
                "messages": [{"id": f"wamid.OUT{number}", "message_status": "accepted"}],
            }
        )


def _customer_of(request: Request) -> str:
    body = request.body if isinstance(request.body, dict) else {}
    return str(body.get("to", "")) if body.get("type") == "text" else ""


def _sent_of(request: Request) -> Sent:
    return Sent(
        phone_number_id=request.path.split("/")[-2],
        to=request.body["to"],
        text=request.body["text"]["body"],
        tag=request.body.get("biz_opaque_callback_data", ""),
    )
