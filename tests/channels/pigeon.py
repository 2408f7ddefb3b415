"""Pigeon, an invented messenger: a whole provider in one file, as CONTRIBUTING's recipe has it.

A webhook has one message, and is signed with the account's secret::

    X-Pigeon-Signature: hex HMAC-SHA256 of the body
    {"id": "p-1", "from": "+79990000001", "text": "Can I book for tomorrow?", "at": 1768478400}
"""

from collections.abc import Sequence
from typing import Annotated

from batching.model import Kind, Outbound
from channels.inbound import (
    Content,
    Parsed,
    Peer,
    identifier,
    message_of,
    required,
    required_object,
    sha256_matches,
    spoken,
    text,
)
from channels.outbound import HttpChannel, refused
from channels.provider import ChannelAccount, Outside, Provider, Refusal, Request
from config import EnvName, EnvNames, Table, Url, Whole
from httpjson import Reply


class Config(Table):
    """The keys of an account."""

    api_url: Url
    token_env: EnvName
    webhook_secret_env: EnvNames
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


def verify(request: Request, webhook_secrets: Sequence[str]) -> int | None:
    """Return the index of the secret that signed the body, None if there is none."""
    signature = request.headers.get("x-pigeon-signature", "")
    return sha256_matches(request.raw, signature, webhook_secrets, prefix="")


def parse(body: object, account_id: str) -> Parsed:
    """Return the message of a body. Raise MalformedError."""
    item = required_object(body, "body")
    message = message_of(
        account_id,
        Peer(required(identifier(item, "from"), "from")),
        Content(Kind.TEXT, spoken(text(item, "text"))),
        message_id=required(identifier(item, "id"), "id"),
        moment=text(item, "at"),
    )
    return Parsed((message,))


def build(account: ChannelAccount, outside: Outside) -> HttpChannel:
    """Return the channel of an account. It connects nowhere."""
    config: Config = account.config
    return HttpChannel(
        http=outside.http,
        url=f"{config.api_url}/messages",
        token=account.secrets[config.token_env],
        timeout_ms=config.timeout_ms,
        prefix="pigeon",
        request=_request,
        provider_id=_provider_id,
        text_length_max=1_000,
    )


def _request(outbound: Outbound) -> dict[str, object]:
    return {"to": outbound.customer, "text": outbound.text}


def _provider_id(reply: Reply) -> str:
    if not reply.is_success:
        raise refused(reply, f"pigeon_http_{reply.status}")
    return identifier(reply.body, "id")


PIGEON = Provider(
    name="pigeon",
    config=Config,
    secrets_field="webhook_secret_env",
    verify=verify,
    refusal=Refusal("signature", "X-Pigeon-Signature: does not fit the body and the secret"),
    parse=parse,
    build=build,
)
