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
from channels.explained import Explained
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
    """The error for a request without proof: a constant code, and what would be a proof."""

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
    """A kind of channel: what an account of it needs, and what becomes of its messages."""

    #: The value of ``channel`` in the accounts file.
    name: str
    #: The keys of an ``[[account]]`` that are the provider's own.
    config: type[Table]
    #: The field of ``config`` that names the secrets which prove a webhook.
    secrets_field: str = ""
    #: Returns the index of the secret that proves a request, None if none does.
    verify: Callable[[Request, Sequence[str]], int | None]
    #: The same by the headers alone, where they can prove who posts: room for the body is then
    #: kept, and one too large to be read is reported, because such a provider posts only once.
    verify_headers: Callable[[Request, Sequence[str]], int | None] | None = None
    #: Whether the headers bear what has the form of a proof over the body. Without it, and unless
    #: ``verify_headers`` knows the sender, the body is not read.
    is_signed: Callable[[Request], bool] = lambda _request: True
    #: The headers, in lower case, that a proof stands in; a request without any is no guess.
    proofs: tuple[str, ...] = ()
    #: Returns what is the same when a proven request is posted again, "" if nothing is. If given,
    #: ``parse`` takes it as its third argument: what it names after it is known the second time.
    delivery_id: Callable[[Request, Sequence[str]], str] | None = None
    #: The answer to a request that ``verify`` refuses.
    refusal: Refusal
    #: Returns the events of a decoded body: ``parse(body, account_id)``, or where the address is
    #: shared ``parse(body, account_of)``; ``account_of(number)`` returns the account with that
    #: number, None for one that is not ours or whose secret did not prove the request. Raises
    #: MalformedError.
    parse: Callable[..., Parsed]
    #: Whether one address serves all accounts; else each has its own.
    shared: bool = False
    #: The field of ``config`` with that number; two accounts must not have the same.
    number_field: str = ""
    #: The field of ``config`` with what the provider names where it reports of several numbers at
    #: once. If given, ``parse`` takes as its third argument ``accounts_of(group)``, which returns
    #: the accounts of it that the request is proven for.
    group_field: str = ""
    challenge: Challenge | None = None
    #: Called with the events of a webhook once the ledger has them.
    accepted: Callable[[Store, Sequence[Event]], None] | None = None
    #: Returns the channel that sends for an account. Connects nowhere.
    build: Callable[[ChannelAccount, Outside], Channel]
    #: What its codes mean, by the names that logs, alerts and dead letters show. Those of failed
    #: calls, which all providers have, begin with ``prefix`` and stand in ``channels.outbound``.
    codes: Mapping[str, Explained] = field(default_factory=dict)
    prefix: str = ""
    #: Erases what the provider keeps of a conversation in Redis; returns how many keys.
    forget: Callable[[Store, str], int] | None = None
    #: Refused with ENVIRONMENT=production.
    development_only: bool = False

    @property
    def proof_fields(self) -> frozenset[str]:
        """Return the fields of ``config`` whose secrets prove webhooks; all others are to send."""
        challenge = self.challenge.secrets_field if self.challenge else ""
        return frozenset({self.secrets_field, challenge} - {""})

    @property
    def address(self) -> str:
        """Return where its webhooks are posted, as a template of a path."""
        return f"/webhooks/{self.name}" if self.shared else f"/webhooks/{self.name}/{{account_id}}"
