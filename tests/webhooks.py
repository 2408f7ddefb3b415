"""What providers post, and how it is signed. Numbers, names and secrets are invented."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import falcon.testing
import httpx2

APP_SECRET = "0f1e2d3c4b5a69780f1e2d3c4b5a6978"
NEXT_SECRET = "1a2b3c4d5e6f70811a2b3c4d5e6f7081"
OTHER_SECRET = "2c4e6a8091b3d5f72c4e6a8091b3d5f7"
SALON_NUMBER = "100000000000001"
BARBER_NUMBER = "100000000000002"
CUSTOMER = "79990000001"

CLOUD = "/webhooks/whatsapp_cloud"
VENOM = "/webhooks/venom/nails"
VENOM_SECRET = {"X-Webhook-Secret": "9a8b7c6d5e4f30219a8b7c6d5e4f3021"}
JSON = {"Content-Type": "application/json"}


def text_message(
    message_id: str = "wamid.1", text: str = "Hi", customer: str = CUSTOMER, **fields: Any
) -> dict[str, Any]:
    """Return one message as the Cloud API gives it."""
    return {
        "from": customer,
        "id": message_id,
        "timestamp": "1768478400",
        "type": "text",
        "text": {"body": text},
    } | fields


def status(provider_id: str, state: str, tag: str, *errors: int) -> dict[str, Any]:
    """Return a delivery status that carries our own ``tag`` back."""
    item = {
        "id": provider_id,
        "status": state,
        "timestamp": "1768478401",
        "biz_opaque_callback_data": tag,
    }
    return item | ({"errors": [{"code": code} for code in errors]} if errors else {})


def change(*messages: object, number: str = SALON_NUMBER, **value: object) -> dict[str, Any]:
    """Return a change that brings messages to a number, or what ``value`` names."""
    given = {"messages": list(messages)} if messages or not value else {}
    value = given | value
    value["messaging_product"] = "whatsapp"
    value["metadata"] = {"display_phone_number": "79990000000", "phone_number_id": number}
    return {"field": "messages", "value": value}


def body(*changes: object) -> dict[str, Any]:
    """Return a webhook's body with changes in one entry."""
    entry = {"id": "200000000000001", "changes": list(changes)}
    return {"object": "whatsapp_business_account", "entry": [entry]}


def signature(raw: bytes, secret: str = APP_SECRET) -> str:
    """Return the header that Meta would send with ``raw``."""
    return "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def gateway_message(message_id: str, text: str, customer: str) -> dict[str, Any]:
    """Return the body in which a gateway delivers one text."""
    return {
        "event": "onmessage",
        "session": "default",
        "id": f"false_{customer}@c.us_{message_id}",
        "from": f"{customer}@c.us",
        "body": text,
        "type": "chat",
        "t": 1768478400,
        "fromMe": False,
        "isGroupMsg": False,
    }


def signed(raw: bytes, secret: str = APP_SECRET) -> dict[str, str]:
    """Return the headers of a webhook with ``raw`` as its body."""
    return JSON | {"X-Hub-Signature-256": signature(raw, secret)}


def post(client: httpx2.Client, body: dict[str, Any]) -> httpx2.Response:
    """Deliver a body to a process that serves, and return its answer."""
    raw = json.dumps(body).encode()
    return client.post(CLOUD, content=raw, headers=signed(raw))


class Caller:
    """Posts to the application as the providers do."""

    def __init__(self, http: falcon.testing.TestClient) -> None:
        self._http = http

    def cloud(self, body: object, *, secret: str = APP_SECRET) -> falcon.testing.Result:
        """Post a body, signed; bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.raw(CLOUD, raw, {"X-Hub-Signature-256": signature(raw, secret)})

    def raw(
        self, path: str, raw: bytes, headers: Mapping[str, str] | None = None
    ) -> falcon.testing.Result:
        """Post bytes with headers over those of JSON."""
        return self._http.simulate_post(path, body=raw, headers=JSON | dict(headers or {}))


def padded(length: int) -> bytes:
    """Return a webhook's body of exactly ``length`` bytes, with one message."""
    return json.dumps(body(change(text_message()))).encode().ljust(length)


def counts(**given: int) -> dict[str, object]:
    """Return the answer to a webhook that was taken, zero where nothing is said."""
    names = ("accepted", "duplicate", "suppressed", "malformed", "unknown_account")
    return {"status": "ok"} | {name: given.get(name, 0) for name in names}


def code(result: falcon.testing.Result) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    return result.status_code, result.json["error"]["code"]
