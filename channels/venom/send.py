"""Send text through WPPConnect-server, or through a small gateway with ``POST /send-message``.

Neither knows an idempotency key, so a send is never blindly repeated. Neither carries our tag, so
no later status can resolve an ambiguous one.
"""

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import quote

from batching.errors import AmbiguousError, ChannelStoppedError, TransientError
from batching.model import Outbound
from channels.explained import Explained
from channels.inbound import Record, at, items, record
from channels.outbound import HttpChannel, refused
from channels.provider import ChannelAccount, Outside
from channels.venom.ids import is_lid, key
from config import EnvName, EnvNames, Table, Url, Whole, Word
from httpjson import Reply

#: Begins the codes of its errors.
PREFIX = "venom"

#: What its codes mean, where it is not what they mean for every provider.
CODES: Mapping[str, Explained] = {
    "venom_http_404": Explained(
        "the gateway's session is not connected, or api_url or session is wrong",
        "log the phone in at the gateway, or correct the account",
    ),
    "venom_refused": Explained(
        "the gateway says that it did not send", "see that the phone is logged in at the gateway"
    ),
    "venom_unclear": Explained(
        "the gateway did not say clearly whether it sent",
        "look at the chat on the phone, then replay or discard the dead letter",
    ),
    **{
        f"venom_ack_{ack}": Explained(
            "WhatsApp did not take the message from the phone",
            "look at the chat on the phone, and send it again by hand",
        )
        for ack in range(-7, 0)
    },
}


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


def build(account: ChannelAccount, outside: Outside) -> HttpChannel:
    """Return the channel of one number that a library of Venom's kin drives."""
    config: Config = account.config
    is_gateway = config.flavour == "gateway"
    path = "" if is_gateway else f"/api/{quote(config.session, safe='')}"
    url = f"{config.api_url.rstrip('/')}{path}"
    return HttpChannel(
        http=outside.http,
        url=f"{url}/send-message",
        token=account.secrets[config.token_env],
        timeout_ms=config.timeout_ms,
        prefix=PREFIX,
        request=_to_gateway if is_gateway else _to_wppconnect,
        provider_id=_from_gateway if is_gateway else _from_wppconnect,
        probe_url=f"{url}/check-connection-session",
        probed=None if is_gateway else _connected,
    )


def _connected(reply: Reply) -> None:
    """Raise if the session is not connected (wppconnect-server, ``checkConnectionSession``)."""
    if not reply.is_success:
        raise refused(reply, f"venom_http_{reply.status}")
    if at(reply.body, "status") is not True:
        raise ChannelStoppedError("venom_http_404", "the session is not connected")


def _to_wppconnect(outbound: Outbound) -> Record:
    return {
        "phone": outbound.customer,
        "isGroup": False,
        "isLid": is_lid(outbound.customer),
        "message": outbound.text,
    }


def _to_gateway(outbound: Outbound) -> Record:
    return {"to": outbound.customer, "message": outbound.text}


def _from_wppconnect(reply: Reply) -> str:
    """Return the id of the message that was sent, as its echo and its status will bear it."""
    if not reply.is_success:
        raise refused(reply, f"venom_http_{reply.status}")
    if at(reply.body, "status") != "success":
        raise AmbiguousError("venom_unclear", "an answer without status success")
    sent = (key(record(item), "id").unique for item in items(reply.body, "response"))
    return next(filter(None, sent), "")


def _from_gateway(reply: Reply) -> str:
    """Return the id of the message that was sent, "" where the gateway tells none."""
    if not reply.is_success:
        raise refused(reply, f"venom_http_{reply.status}")
    match at(reply.body, "success"):
        case True:
            return key(record(reply.body), "messageId", "id").unique
        case False:
            raise TransientError("venom_refused", "the gateway says that it did not send")
    raise AmbiguousError("venom_unclear", "an answer without success")
