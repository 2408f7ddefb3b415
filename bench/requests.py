"""Signed webhooks of the Cloud API as whole HTTP requests, ready to be written to a socket."""

import hashlib
import hmac
import json

#: Of the invented account that the measurements run with.
PHONE_NUMBER_ID = "100000000000001"
SECRET = "app-secret-of-the-bench"  # noqa: S105 - invented
PATH = "/webhooks/whatsapp_cloud"


def webhook(customer: str, message_id: str, text: str) -> bytes:
    """Return the body in which Meta delivers one text."""
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "70000000000", "phone_number_id": PHONE_NUMBER_ID},
        "contacts": [{"profile": {"name": "Customer"}, "wa_id": customer}],
        "messages": [
            {
                "from": customer,
                "id": message_id,
                "timestamp": "1700000000",
                "type": "text",
                "text": {"body": text},
            }
        ],
    }
    entry = {"id": "200000000000001", "changes": [{"value": value, "field": "messages"}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def signature(body: bytes) -> str:
    """Return what Meta puts into X-Hub-Signature-256."""
    return "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def raw_post(body: bytes) -> bytes:
    """Return a signed POST with its head."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: {signature(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def raw_posts(count: int) -> list[bytes]:
    """Return signed POSTs with a message id each, twelve to a customer."""
    return [
        raw_post(webhook(f"7000{n // 12:08d}", f"wamid.bench.{n}", "Can I book for tomorrow?"))
        for n in range(count)
    ]
