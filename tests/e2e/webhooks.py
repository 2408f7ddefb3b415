"""Signed webhooks of WhatsApp Cloud API, as Meta posts them."""

import hashlib
import hmac
import json
from typing import Any

import httpx2

from tests.e2e.accounts import APP_SECRET

PATH = "/webhooks/whatsapp_cloud"


def text_message(customer: str, message_id: str, text: str) -> dict[str, Any]:
    """Return the item of a text message."""
    return {
        "from": customer,
        "id": message_id,
        "timestamp": "1768478400",
        "type": "text",
        "text": {"body": text},
    }


def status(provider_id: str, state: str, tag: str, *errors: int) -> dict[str, Any]:
    """Return the item of a delivery status that carries our own ``tag`` back."""
    item = {
        "id": provider_id,
        "status": state,
        "timestamp": "1768478401",
        "biz_opaque_callback_data": tag,
    }
    return item | ({"errors": [{"code": code} for code in errors]} if errors else {})


def envelope(phone_number_id: str, **items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the body around ``messages`` or ``statuses`` of one number."""
    metadata = {"display_phone_number": "15550000001", "phone_number_id": phone_number_id}
    value = {"messaging_product": "whatsapp", "metadata": metadata, **items}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "200001", "changes": [{"field": "messages", "value": value}]}],
    }


def post(client: httpx2.Client, body: dict[str, Any]) -> httpx2.Response:
    """Deliver a body under our app's signature and return the answer."""
    raw = json.dumps(body).encode()
    digest = hmac.new(APP_SECRET.encode(), raw, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest}"}
    return client.post(PATH, content=raw, headers=headers)
