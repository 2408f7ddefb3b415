"""The world outside the product: a model's API and a provider's, on one server of the loopback."""

import itertools
import re
from dataclasses import dataclass

from tests.http_server import LOOPBACK, HttpServer, Reply, Request, Service

#: The word by which a test's customer is known in all that they write.
MARK = re.compile(r"\bQ\d{5}\b")
#: The ends of the paths at which models are asked, in OpenAI's form and in Anthropic's.
COMPLETIONS, MESSAGES = "/chat/completions", "/v1/messages"
#: The end of the path at which a gateway is given a text.
SEND_MESSAGE = "/send-message"
TRACES = "/v1/traces"


def completion(text: str | None, *, finish_reason: str = "stop") -> Reply:
    said = {"role": "assistant", "content": text}
    return Reply(
        body={
            "id": "chatcmpl-invented",
            "object": "chat.completion",
            "created": 1_768_478_400,
            "model": "invented",
            "choices": [{"index": 0, "message": said, "finish_reason": finish_reason}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


def model_error(status: int, code: str = "", **headers: str) -> Reply:
    error = {"message": "refused", "type": "invented", "param": None, "code": code or None}
    return Reply(status, {"error": error}, headers)


class ModelApi(Service):
    """A model in OpenAI's form of API or in Anthropic's, by the path at which it is asked.

    Its default answer is ``says``, "" for "Answer to: <turn>". The key of a request is the first
    MARK in its user turn, "" if there is none.
    """

    def __init__(self, says: str = "") -> None:
        super().__init__()
        self._says = says

    def key_of(self, request: Request) -> str:
        found = MARK.search(turn_of(request))
        return found[0] if found else ""

    def default(self, request: Request) -> Reply:
        text = self._says or f"Answer to: {turn_of(request)}"
        if request.path.endswith(COMPLETIONS):
            return completion(text)
        content = [{"type": "text", "text": text}]
        return Reply(body={"content": content, "stop_reason": "end_turn"})

    def turns_of(self, mark: str) -> list[str]:
        """Return the user turns of a customer, one for each request."""
        return [turn_of(request) for request in self.requests_of(mark)]


def turn_of(request: Request) -> str:
    return str(request.json["messages"][-1]["content"])


def graph_error(code: int, *, status: int = 400) -> Reply:
    return Reply(
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
    """One text that was handed to a provider, taken or not.

    ``phone_number_id``: of a gateway, the session. ``tag``: gateways take none.
    """

    phone_number_id: str
    to: str
    text: str
    tag: str


class ProviderApi(Service):
    """WhatsApp's Graph API, or WPPConnect's, by the path. Takes every text that is not scripted.

    The key of a request is the customer whom its text is for. Reading marks and typing signs are
    taken too, under the key "".
    """

    def __init__(self) -> None:
        super().__init__()
        self._ids = itertools.count(1)

    def key_of(self, request: Request) -> str:
        if request.path.endswith(SEND_MESSAGE):
            return sent_of(request).to
        body = request.json
        return str(body.get("to", "")) if body.get("type") == "text" else ""

    def default(self, request: Request) -> Reply:
        return self.taken(request) if self.key_of(request) else Reply(body={"success": True})

    def taken(self, request: Request, provider_id: str = "") -> Reply:
        """Return the answer that a text was taken, under a new id if none is given."""
        to, provider_id = self.key_of(request), provider_id or self.next_id()
        if request.path.endswith(SEND_MESSAGE):
            return Reply(
                201, {"status": "success", "response": [{"id": f"true_{to}_{provider_id}"}]}
            )
        message = {"id": provider_id, "message_status": "accepted"}
        return Reply(
            body={
                "messaging_product": "whatsapp",
                "contacts": [{"input": to, "wa_id": to}],
                "messages": [message],
            }
        )

    def next_id(self) -> str:
        with self._lock:
            return f"wamid.OUT{next(self._ids)}"

    def sent_to(self, customer: str) -> list[Sent]:
        """Return every text offered for ``customer``, in order, taken or not."""
        return [sent_of(request) for request in self.requests_of(customer)]


def sent_of(request: Request) -> Sent:
    body, sender = request.json, request.path.split("/")[-2]
    if request.path.endswith(SEND_MESSAGE):
        return Sent(sender, body["phone"].removesuffix("@c.us"), body["message"], "")
    tag = body.get("biz_opaque_callback_data", "")
    return Sent(sender, body["to"], body["text"]["body"], tag)


class Outside(HttpServer):
    """Serves a model and a provider at one address, by the path of a request."""

    def __init__(
        self, model: Service, provider: Service, address: tuple[str, int] = LOOPBACK
    ) -> None:
        self._model = model
        self._provider = provider
        super().__init__(address)

    def service(self, request: Request) -> Service:
        if request.path.endswith(TRACES):
            # Of a process whose every call goes through here, see ``proxy_url``.
            return self
        is_asking = request.path.endswith((COMPLETIONS, MESSAGES))
        return self._model if is_asking else self._provider
