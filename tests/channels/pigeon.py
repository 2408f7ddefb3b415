"""Pigeon, an invented messenger: a whole provider in one file, as CONTRIBUTING's recipe has it.

A webhook has one message, and is signed with the account's secret::

    X-Pigeon-Signature: hex HMAC-SHA256 of the body
    {"id": "p-1", "from": "+79990000001", "text": "Can I book for tomorrow?", "at": 1768478400}
"""

from collections.abc import Sequence
from typing import Annotated

import httpx2

from batching.errors import AmbiguousError
from batching.model import Kind, Outbound
from channels.inbound import (
    Content,
    Parsed,
    Peer,
    Record,
    identifier,
    message_of,
    moment_ms,
    read_item,
    required,
    sha256_matches,
    spoken,
    text,
)
from channels.outbound import BY_STATUS, CONNECT_MS_MAX, refused, send_errors, split
from channels.provider import ChannelAccount, Outside, Provider, Refusal, Request
from config import EnvName, EnvNames, Table, Url, Whole
from httpjson import post_json

TEXT_LENGTH_MAX = 1_000
ERRORS = send_errors("pigeon")


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
    return Parsed((read_item(_message, account_id, body),))


def _message(account_id: str, item: Record):
    customer = required(identifier(item, "from"), "from")
    return message_of(
        account_id,
        Peer(customer, aliases=(), secondary=False),
        Content(Kind.TEXT, spoken(text(item, "text"))),
        message_id=required(identifier(item, "id"), "id"),
        sent_at_ms=moment_ms(item, "at"),
    )


class Pigeon:
    """The channel of one account."""

    def __init__(self, config: Config, token: str, http: httpx2.Client) -> None:
        self._config = config
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = http

    def split(self, text: str) -> list[str]:
        """Return ``text`` in parts that the messenger takes."""
        return split(text, TEXT_LENGTH_MAX)

    def send(self, outbound: Outbound) -> str:
        """Hand one part over and return its id. See Channel.send."""
        reply = post_json(
            self._http,
            f"{self._config.api_url}/messages",
            {"to": outbound.customer, "text": outbound.text},
            headers=self._headers,
            timeout_ms=self._config.timeout_ms,
            connect_ms_max=CONNECT_MS_MAX,
            errors=ERRORS,
        )
        if not reply.is_success:
            error = BY_STATUS.get(reply.status, AmbiguousError)
            raise refused(error, f"pigeon_http_{reply.status}", reply)
        return identifier(reply.body, "id")


def build(account: ChannelAccount, outside: Outside) -> Pigeon:
    """Return the channel of an account."""
    config: Config = account.config
    return Pigeon(config, account.secrets[config.token_env], outside.http)


PIGEON = Provider(
    name="pigeon",
    config=Config,
    secrets_field="webhook_secret_env",
    verify=verify,
    refusal=Refusal("signature", "X-Pigeon-Signature: does not fit the body and the secret"),
    parse=parse,
    build=build,
)
