"""Send text through the Cloud API. It knows no idempotency key: nothing is blindly repeated."""

from urllib.parse import quote

import httpx2

from batching.errors import AmbiguousError
from batching.model import Outbound
from channels.fields import identifier, items, whole_number
from channels.http import post_json
from channels.text import split
from channels.whatsapp_cloud.errors import failure
from channels.whatsapp_cloud.identity import is_business_scoped
from httpjson import Reply, retry_after_ms

#: Longest text of one message, in UTF-16 units.
TEXT_LENGTH_MAX = 4096


class WhatsAppCloud:
    """The channel of one business number.

    ``api_url`` ends with the API's version, e.g. https://graph.facebook.com/v25.0.
    ``timeout_ms`` bounds the whole call.
    """

    def __init__(
        self,
        *,
        phone_number_id: str,
        access_token: str,
        api_url: str,
        http: httpx2.Client,
        timeout_ms: int = 15_000,
    ) -> None:
        self._url = f"{api_url.rstrip('/')}/{quote(phone_number_id, safe='')}/messages"
        self._headers = {"Authorization": f"Bearer {access_token}"}
        self._http = http
        self._timeout_ms = timeout_ms

    def split(self, text: str) -> list[str]:
        """Return ``text`` in parts of at most TEXT_LENGTH_MAX UTF-16 units."""
        return split(text, TEXT_LENGTH_MAX)

    def send(self, outbound: Outbound) -> str:
        """Hand one part over and return its wamid; not safe to run twice. See Channel.send."""
        reply = post_json(
            self._http,
            self._url,
            _message(outbound),
            headers=self._headers,
            timeout_ms=self._timeout_ms,
            code_prefix="cloud",
        )
        return _wamid(reply)


def _message(outbound: Outbound) -> dict[str, object]:
    to = "recipient" if is_business_scoped(outbound.customer) else "to"
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        to: outbound.customer,
        "type": "text",
        "text": {"body": outbound.text, "preview_url": False},
        "biz_opaque_callback_data": outbound.tag,
    }


def _wamid(reply: Reply) -> str:
    """Return the id that the API gave the message. Raise what its refusal means."""
    code = whole_number(reply.body, "error", "code")
    if not reply.is_success or code is not None:
        raise failure(reply.status, code, retry_after_ms=retry_after_ms(reply.headers))
    wamid = next((identifier(sent, "id") for sent in items(reply.body, "messages")), "")
    if not wamid:
        raise AmbiguousError("cloud_no_id", "the Cloud API took a message and gave it no id")
    return wamid
