"""The webhooks of all providers: raw body within limits, proof, JSON, parse, one round trip, 200.

A message is acknowledged once the ledger has it; nothing else is on this path. What differs
between providers is said by ``channels.provider.Provider``.
"""

import contextlib
import json
import logging
import secrets as random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import falcon
import gevent  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from batching.errors import MalformedError
from batching.flow import receive
from batching.model import NotUnderstood, Status
from channels.dialects import looks_like_message, not_understood
from channels.inbound import Parsed
from channels.provider import Challenge, Provider, Refusal, Request
from runtime.accounts import AccountConfig
from runtime.build import Runtime
from web.errors import RETRY_AFTER_S, RefusalError
from web.guesses import Guesses

log = logging.getLogger(__name__)

#: Meta posts up to 3 MB; one byte more is refused.
BODY_BYTES_MAX = 3 * 1024 * 1024
#: How long a client may take to send its body; a webhook's arrives in one piece.
BODY_MS_MAX = 20_000
#: No documented webhook nests deeper than 20.
NESTING_MAX = 100

#: How much of a body that is too large is still read, and for how long: a proxy that sends it on
#: would otherwise find a closed connection in place of the refusal, and try another host.
DISCARDED_BYTES_MAX = 2 * BODY_BYTES_MAX
DISCARDED_MS_MAX = 2_000
DISCARDED_AT_ONCE = 64 * 1024

_TOO_LARGE = "body_too_large"

#: Secret → number at the provider → account: whom a request with this secret may be for.
_Owners = Mapping[str, Mapping[str, str]]


def add_routes(app: falcon.App[falcon.Request, falcon.Response], runtime: Runtime) -> None:
    """Give ``app`` the address of every provider."""
    for provider in runtime.channels.values():
        if provider.development_only and runtime.settings.is_production:
            continue
        resource = (
            ChallengedWebhook(runtime, provider, provider.challenge)
            if provider.challenge
            else Webhook(runtime, provider)
        )
        app.add_route(provider.address, resource)


class Webhook:
    """Takes what a provider delivers, at one address for all accounts or at one for each."""

    def __init__(self, runtime: Runtime, provider: Provider) -> None:
        self._runtime = runtime
        self._provider = provider
        configs = [config for config in runtime.accounts if config.channel == provider.name]
        #: The group of each account that names one.
        self._groups = {
            config.account_id: getattr(config.entry, provider.group_field)
            for config in configs
            if provider.group_field
        }
        self._guesses = Guesses(runtime.store, f"the webhook of {provider.name}")
        owners = (
            {"": _owners(configs, provider.number_field)}
            if provider.shared
            else {config.account_id: _owners([config]) for config in configs}
        )
        # Strangers must not learn by the answer, or by its time, which accounts there are: an
        # unknown one has secrets that nobody knows, and every account as many.
        most = max(map(len, owners.values()), default=0) or 1
        self._unknown = _padded({}, most)
        #: By the account in the path, "" at a shared address.
        self._addresses = {name: _padded(known, most) for name, known in owners.items()}

    def on_post(self, req: falcon.Request, resp: falcon.Response, account_id: str = "") -> None:
        """Answer 200 with counts once the ledger has every message.

        Raise RefusalError, MalformedError (400 or 413) or LedgerUnavailableError (503).
        """
        provider = self._provider
        owners = self._addresses.get(account_id, self._unknown)
        secrets = tuple(owners)
        request = self._read(req, account_id, secrets)
        proof = provider.verify(request, secrets)
        if owners is self._unknown:
            log.warning("webhook.unknown_account", extra={"count": 1})
        if proof is None:
            del request  # Its body must not wait with it.
            if any(map(req.get_header, provider.proofs)):
                self._guesses.wrong("" if owners is self._unknown else account_id)
            raise _refused(provider, provider.refusal, HTTPStatus.UNAUTHORIZED)
        if owners is self._unknown:
            # Only a provider that asks for no proof comes so far.
            raise _not_found(f"account: no {provider.name} account has this id")
        accounts = owners[secrets[proof]] if provider.shared else {account_id: account_id}
        parsed = self._parse(req.content_type, request, accounts, secrets)
        resp.media = acknowledge(self._runtime, parsed)
        if provider.accepted:
            provider.accepted(self._runtime.store, parsed.events)

    def _read(self, req: falcon.Request, account_id: str, secrets: Sequence[str]) -> Request:
        """Return the request with its body. Raise RefusalError."""
        try:
            return _request(req, read_raw(req))
        except RefusalError as refusal:
            # Reported if it is no stranger's: the provider will not deliver it again.
            verify = self._provider.verify_headers if refusal.reason == _TOO_LARGE else None
            if verify and verify(_request(req, b""), secrets) is not None:
                log.error("webhook.oversized", extra={"account": account_id})  # noqa: TRY400 - no fault
                self._alert_unread(not_understood(account_id, refusal.reason, None))
            raise

    def _parse(
        self,
        content_type: str | None,
        request: Request,
        accounts: Mapping[str, str],
        secrets: Sequence[str],
    ) -> Parsed:
        """Return the events of a body whose proof fits ``accounts``.

        Raise RefusalError and MalformedError; of what may be a message a person is alerted first.
        """
        account_id, *others = accounts.values()
        about = "" if others else account_id
        try:
            body = decode(content_type, request.raw)
        except RefusalError as refusal:
            if request.raw.strip():
                self._alert_unread(not_understood(about, refusal.reason, None))
            raise
        provider = self._provider
        try:
            if provider.shared:
                return self._parse_shared(body, accounts)
            if provider.delivery_id:
                return provider.parse(body, account_id, provider.delivery_id(request, secrets))
            return provider.parse(body, account_id)
        except MalformedError as error:
            if looks_like_message(body):
                self._alert_unread(not_understood(about, error.code, body))
            else:
                _log_refused(provider, error.code)
            raise

    def _alert_unread(self, event: NotUnderstood) -> None:
        """Alert a person, who else would not hear of it. Raise LedgerUnavailableError."""
        receive(self._runtime.store, [event], self._runtime.accounts.limits_of)

    def _parse_shared(self, body: object, accounts: Mapping[str, str]) -> Parsed:
        """Return the events for ``accounts``, whose own secret proved the request.

        Raise RefusalError, 404, if it brings something for other accounts alone.
        """
        asked: set[str] = set()

        def account_of(number: str) -> str | None:
            asked.add(number)
            return accounts.get(number)

        def accounts_of(group: str) -> list[str]:
            # One account alone is meant, whatever group it names.
            ids = list(accounts.values())
            members = [it for it in ids if self._groups.get(it) == group]
            return members or (ids if len(ids) == 1 and not self._groups.get(ids[0]) else [])

        grouped = (accounts_of,) if self._provider.group_field else ()
        parsed = self._provider.parse(body, account_of, *grouped)
        if parsed.unknown_accounts and asked.isdisjoint(accounts):
            log.error("webhook.unknown_account", extra={"count": parsed.unknown_accounts})
            raise _not_found(f"{self._provider.number_field}: no account of this app has it")
        return parsed


class ChallengedWebhook(Webhook):
    """A webhook whose address the provider first asks to prove that it is ours."""

    def __init__(self, runtime: Runtime, provider: Provider, challenge: Challenge) -> None:
        super().__init__(runtime, provider)
        self._challenge = challenge
        self._secrets = [
            secret
            for config in runtime.accounts
            if config.channel == provider.name
            for secret in config.secrets_of(challenge.secrets_field)
        ]

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with the text that the provider expects. Raise RefusalError, 403."""
        answer = self._challenge.answer(_request(req, b""), self._secrets)
        if answer is None:
            if req.query_string:
                self._guesses.wrong("")
            raise _refused(self._provider, self._challenge.refusal, HTTPStatus.FORBIDDEN)
        resp.content_type = falcon.MEDIA_TEXT
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.text = answer


def _owners(configs: Sequence[AccountConfig], number_field: str = "") -> _Owners:
    owners = defaultdict[str, dict[str, str]](dict)
    for config in configs:
        number = getattr(config.entry, number_field) if number_field else config.account_id
        for secret in config.webhook_secrets:
            owners[secret][number] = config.account_id
    return owners


def _padded(owners: _Owners, count: int) -> _Owners:
    """Return ``owners`` with so many secrets that nobody knows that there are ``count``."""
    return {**owners, **{random.token_hex(32): {} for _ in range(count - len(owners))}}


def acknowledge(runtime: Runtime, parsed: Parsed) -> dict[str, object]:
    """Hand the events to the ledger and return the counts to answer with; one round trip.

    Raise LedgerUnavailableError, and RefusalError 503 where a conversation holds too much: its
    message's id is not recorded then, so that the provider's next delivery is taken. The other
    messages of the body are kept at the first delivery.
    """
    if parsed.malformed:
        log.error("webhook.malformed", extra={"count": parsed.malformed})
    if parsed.unknown_accounts:
        log.error("webhook.unknown_account", extra={"count": parsed.unknown_accounts})
    accounts = runtime.accounts
    receipts = receive(runtime.store, parsed.events, accounts.limits_of, accounts.reception_of)
    runtime.silence.observe(receipt.flusher_lag_ms for receipt in receipts)
    counts = Counter(receipt.status for receipt in receipts)
    if full := counts[Status.FULL]:
        raise RefusalError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "conversation_full",
            f"messages refused: {full}; a conversation holds at most "
            f"{runtime.store.timing.waiting_max} unanswered",
            retry_after_s=RETRY_AFTER_S,
        )
    return {
        "status": "ok",
        "accepted": counts[Status.ACCEPTED],
        "duplicate": counts[Status.DUPLICATE],
        "suppressed": counts[Status.SUPPRESSED] + counts[Status.OVERFLOW],
        "malformed": parsed.malformed,
        "unknown_account": parsed.unknown_accounts,
    }


def read_raw(req: falcon.Request) -> bytes:
    """Return the body exactly as received, chunked or not; empty if there is none.

    Raise RefusalError: 413 over BODY_BYTES_MAX, 408 after BODY_MS_MAX, 400 if it broke off.
    """
    stated = req.content_length
    if stated is not None and stated > BODY_BYTES_MAX:
        if stated <= DISCARDED_BYTES_MAX:
            _discard(req)
        raise _too_large(f"{stated} bytes")
    try:
        # The whole read has one deadline: a limit per packet would let a client drip for ever.
        with gevent.Timeout(BODY_MS_MAX / 1000, TimeoutError("body")):
            raw = _read_stream(req, stated)
    except TimeoutError:
        message = f"body: not complete after {BODY_MS_MAX} ms"
        raise RefusalError(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", message) from None
    except (OSError, ParseException) as error:
        # The server's reader: the client went away, or its chunks do not parse.
        raise _bad_request("body_incomplete", "body: broke off or is wrongly chunked") from error
    if len(raw) > BODY_BYTES_MAX:
        raise _too_large("more")
    if stated is not None and len(raw) != stated:
        raise _bad_request("body_incomplete", f"body: {len(raw)} bytes, Content-Length: {stated}")
    return raw


def decode(content_type: str | None, raw: bytes) -> object:
    """Return the JSON of ``raw``; lone surrogates survive, they are cleaned later.

    Raise RefusalError, 400: another content type, not JSON, nested beyond NESTING_MAX.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != falcon.MEDIA_JSON:
        raise _bad_request("content_type", "Content-Type: must be application/json")
    try:
        value: object = json.loads(raw)
        is_deep = raw.count(b"[") + raw.count(b"{") > NESTING_MAX and _is_deep(value)
    except RecursionError:
        is_deep = True
    except ValueError:
        # The error of the decoder quotes the body: it goes nowhere.
        raise _bad_request("broken_json", "body: is not JSON") from None
    if is_deep:
        raise _bad_request("too_deep", f"body: nested more than {NESTING_MAX} deep")
    return value


def _request(req: falcon.Request, raw: bytes) -> Request:
    return Request(
        method=req.method,
        path=req.path,
        query={name: req.get_param(name) or "" for name in req.params},
        headers=req.headers_lower,
        raw=raw,
        received_ms=time.time_ns() // 1_000_000,
    )


def _read_stream(req: falcon.Request, stated: int | None) -> bytes:
    if stated is not None:
        return req.bounded_stream.read(stated)
    if req.env.get("wsgi.input_terminated"):
        # Chunked: the server ends the stream with the body, so reading on does not wait.
        return req.stream.read(BODY_BYTES_MAX + 1)
    return b""


def _discard(req: falcon.Request) -> None:
    """Read the body and drop it, as far as it comes."""
    enough = gevent.Timeout(DISCARDED_MS_MAX / 1000, TimeoutError("body"))
    with contextlib.suppress(OSError, ParseException), enough:
        while req.bounded_stream.read(DISCARDED_AT_ONCE):
            pass


def _is_deep(value: object) -> bool:
    level: list[Any] = [[value]]
    for _ in range(NESTING_MAX + 1):
        holders = (it.values() if isinstance(it, dict) else it for it in level)
        level = [inner for items in holders for inner in items if isinstance(inner, dict | list)]
    return bool(level)


def _refused(provider: Provider, refusal: Refusal, status: HTTPStatus) -> RefusalError:
    _log_refused(provider, refusal.code)
    return RefusalError(status, refusal.code, refusal.message)


def _log_refused(provider: Provider, reason: str) -> None:
    log.warning("webhook.refused", extra={"channel": provider.name, "reason": reason})


def _not_found(message: str) -> RefusalError:
    return RefusalError(HTTPStatus.NOT_FOUND, "unknown_account", message)


def _bad_request(reason: str, message: str) -> RefusalError:
    return RefusalError(HTTPStatus.BAD_REQUEST, reason, message)


def _too_large(size: str) -> RefusalError:
    message = f"body: {size}, at most {BODY_BYTES_MAX} bytes"
    return RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE, message)
