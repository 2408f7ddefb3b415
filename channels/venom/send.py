"""Send text through WPPConnect-server, or through a gateway of the origin's form.

Neither knows an idempotency key: nothing is blindly repeated. Neither carries our tag, so that no
later status can resolve a doubt.
"""

from typing import Literal
from urllib.parse import quote

import httpx2

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from batching.model import Outbound
from channels.fields import Record, at, items
from channels.http import post_json
from channels.text import split
from channels.venom.ids import is_lid, key
from httpjson import Reply, retry_after_ms

#: Longest text of one message, in UTF-16 units. WhatsApp takes more, but folds it away.
TEXT_LENGTH_MAX = 4096

Flavour = Literal["wppconnect", "gateway"]

#: By the HTTP status. Of the rest, 5xx among them, nobody knows what came of it.
_BY_STATUS: dict[int, type[AdminError]] = {
    **dict.fromkeys(range(400, 500), PermanentError),
    # Redirected, wrong token, no such session, not connected to WhatsApp: true of every message.
    **dict.fromkeys((*range(300, 400), 401, 403, 404, 405), ChannelStoppedError),
    408: AmbiguousError,
    429: TransientError,
    501: PermanentError,
}


class VenomGateway:
    """The channel of one number that a library of Venom's kin drives.

    ``session`` names it to WPPConnect-server and is not used by a gateway. An empty ``token`` sends
    none. ``timeout_ms`` bounds the whole call.
    """

    def __init__(
        self,
        *,
        api_url: str,
        token: str,
        session: str,
        flavour: Flavour,
        http: httpx2.Client,
        timeout_ms: int = 15_000,
    ) -> None:
        base = api_url.rstrip("/")
        path = "" if flavour == "gateway" else f"/api/{quote(session, safe='')}"
        self._url = f"{base}{path}/send-message"
        self._flavour = flavour
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = http
        self._timeout_ms = timeout_ms

    def split(self, text: str) -> list[str]:
        """Return ``text`` in parts of at most TEXT_LENGTH_MAX UTF-16 units."""
        return split(text, TEXT_LENGTH_MAX)

    def send(self, outbound: Outbound) -> str:
        """Hand one part over and return its id, "" from a gateway that gives none.

        Not safe to run twice. See Channel.send for what it raises.
        """
        is_gateway = self._flavour == "gateway"
        reply = post_json(
            self._http,
            self._url,
            _to_gateway(outbound) if is_gateway else _to_wppconnect(outbound),
            headers=self._headers,
            timeout_ms=self._timeout_ms,
            code_prefix="venom",
        )
        if not reply.is_success:
            raise _failure(reply)
        return _from_gateway(reply.body) if is_gateway else _from_wppconnect(reply.body)


def _failure(reply: Reply) -> AdminError:
    verdict = _BY_STATUS.get(reply.status, AmbiguousError)
    code, detail = f"venom_http_{reply.status}", f"the gateway answered HTTP {reply.status}"
    if issubclass(verdict, TransientError):
        return verdict(code, detail, retry_after_ms=retry_after_ms(reply.headers))
    return verdict(code, detail)


def _to_wppconnect(outbound: Outbound) -> Record:
    return {
        "phone": outbound.customer,
        "isGroup": False,
        "isLid": is_lid(outbound.customer),
        "message": outbound.text,
    }


def _to_gateway(outbound: Outbound) -> Record:
    return {"to": outbound.customer, "message": outbound.text}


def _from_wppconnect(answer: object) -> str:
    """Return the id of the message that was sent, as its echo and its status will bear it."""
    if at(answer, "status") != "success":
        raise AmbiguousError("venom_unclear", "an answer without status success")
    sent = (key(item, "id") for item in items(answer, "response") if isinstance(item, dict))
    return next((found.unique for found in sent if found.unique), "")


def _from_gateway(answer: object) -> str:
    """Return the id of the message that was sent, "" where the gateway tells none."""
    match at(answer, "success"):
        case True if isinstance(answer, dict):
            return key(answer, "messageId", "id").unique
        case False:
            raise TransientError("venom_refused", "the gateway says that it did not send")
    raise AmbiguousError("venom_unclear", "an answer without success")
