"""Send text through WPPConnect-server, or through a small gateway with ``POST /send-message``.

Neither knows an idempotency key, so a send is never blindly repeated. Neither carries our tag, so
no later status can resolve an ambiguous one.
"""

from typing import Annotated, Literal
from urllib.parse import quote

import httpx2

from batching.errors import AdminError, AmbiguousError, PermanentError, TransientError
from batching.model import Outbound
from channels.inbound import Record, at, items
from channels.outbound import BY_STATUS, CONNECT_MS_MAX, refused, send_errors, split
from channels.venom.ids import is_lid, key
from config import EnvName, EnvNames, Table, Url, Whole, Word
from httpjson import post_json

#: Longest text of one message, in UTF-16 units. WhatsApp takes more, but folds it away.
TEXT_LENGTH_MAX = 4096

_ERRORS = send_errors("venom")
_BY_STATUS: dict[int, type[AdminError]] = {**BY_STATUS, 501: PermanentError}


class Config(Table):
    """The keys of an account: a number behind a Venom, WPPConnect or compatible gateway.

    ``session`` names the number to WPPConnect-server; a gateway does not use it. ``timeout_ms``
    bounds a whole call.
    """

    api_url: Url
    token_env: EnvName
    webhook_secret_env: EnvNames
    session: Word = "default"
    flavour: Literal["wppconnect", "gateway"] = "wppconnect"
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


class VenomGateway:
    """The channel of one number that a library of Venom's kin drives.

    An empty ``token`` sends none.
    """

    def __init__(self, config: Config, token: str, http: httpx2.Client) -> None:
        base = config.api_url.rstrip("/")
        path = f"/api/{quote(config.session, safe='')}" if config.flavour == "wppconnect" else ""
        self._url = f"{base}{path}/send-message"
        self._flavour = config.flavour
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = http
        self._timeout_ms = config.timeout_ms

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
            connect_ms_max=CONNECT_MS_MAX,
            errors=_ERRORS,
        )
        if not reply.is_success:
            error = _BY_STATUS.get(reply.status, AmbiguousError)
            raise refused(error, f"venom_http_{reply.status}", reply)
        return _from_gateway(reply.body) if is_gateway else _from_wppconnect(reply.body)


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
