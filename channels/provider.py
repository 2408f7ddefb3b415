"""What a provider gives to the rest of the service: its account keys, its webhook, its way out.

A provider is one file or folder of this package and one line in ``channels.CHANNELS``; nothing
else knows its name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from batching.model import Event
from batching.ports import Channel
from batching.store import Store
from channels.inbound import Parsed
from config import Table


@dataclass(frozen=True, slots=True)
class Request:
    """One webhook call, free of any web framework.

    The names of ``headers`` are in lower case. ``raw`` is the body as received, b"" where it was
    not read. ``received_ms``: our clock.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    received_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a sender that proved nothing is told: a constant code, and what would prove it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a provider makes sure by a ``GET`` that a shared address is ours.

    ``answer(request, secrets)`` returns the text to answer with, None where the request proves
    none of the secrets that ``secrets_field`` of the accounts' ``config`` names.
    """

    answer: Callable[[Request, Sequence[str]], str | None]
    secrets_field: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class ChannelAccount:
    """One account as its provider sees it.

    ``config`` is of the provider's own type; ``secrets`` has the value of each environment
    variable that the account names.
    """

    account_id: str
    config: Any
    secrets: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outside:
    """What a channel may use: the shared HTTP client, and Redis for those without a network."""

    http: httpx2.Client
    store: Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A kind of channel. ``name``: the value of ``channel`` in the accounts file.

    ``config`` has the keys of an ``[[account]]`` that are the provider's own.

    ``secrets_field``: the field of ``config`` with the secrets that prove a webhook.
    ``verify`` returns the index of the secret that proves a request, None if none does; the sender
    is then told ``refusal``. ``verify_headers``, for a provider that posts each message only once,
    says the same from the headers alone: a body too large to be read is then reported.

    ``parse(body, account_id)`` returns the events of a decoded body. Each account has an address
    of its own, ``/webhooks/<name>/<account>``. Where ``shared``, one address serves all:
    ``/webhooks/<name>``, and ``parse(body, account_of)`` is given a function that returns the
    account of a number, None if it is none whose secret proved the request; ``number_field`` is
    the field of ``config`` with that number, which two accounts must not share.

    ``build`` returns the channel that sends for an account. ``accepted`` is called with the events
    of a webhook once the ledger has them. ``forget`` erases what the provider keeps of a
    conversation in Redis, and returns how much that was. ``development_only``: refused with
    ENVIRONMENT=production.
    """

    name: str
    config: type[Table]
    verify: Callable[[Request, Sequence[str]], int | None]
    refusal: Refusal
    parse: Callable[[Any, Any], Parsed]
    build: Callable[[ChannelAccount, Outside], Channel]
    secrets_field: str = ""
    verify_headers: Callable[[Request, Sequence[str]], int | None] | None = None
    shared: bool = False
    number_field: str = ""
    challenge: Challenge | None = None
    accepted: Callable[[Store, Sequence[Event]], None] | None = None
    forget: Callable[[Store, str], int] | None = None
    development_only: bool = False

    @property
    def address(self) -> str:
        """Return where its webhooks are posted, as a template of a path."""
        return f"/webhooks/{self.name}" if self.shared else f"/webhooks/{self.name}/{{account_id}}"
