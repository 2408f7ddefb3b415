"""The webhooks of all providers: raw body within limits, proof, JSON, parse, one round trip, 200.

A body is read once its length, its address and the form of its proof allow it, and there is room.

A message is acknowledged once the ledger has it; nothing else is on this path. What differs
between providers is said by ``channels.provider.Provider``.
"""

import contextlib
import json
import logging
import secrets as random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from http import HTTPStatus
from typing import Any

import falcon
import gevent  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client import Counter as PrometheusCounter

from batching.errors import MalformedError
from batching.flow import receive
from batching.model import NotUnderstood, Status
from channels.dialects import looks_like_message, not_understood
from channels.inbound import Parsed
from channels.provider import Provider, Refusal, Request
from runtime.accounts import AccountConfig
from runtime.build import Runtime
from web.errors import (
    NO_ROOM,
    RETRY_AFTER_S,
    RefusalError,
    bad_request,
    no_room,
    unknown_account,
)
from web.guesses import Guesses

log = logging.getLogger(__name__)

#: Meta posts up to 3 MB; one byte more is refused.
BODY_BYTES_MAX = 3 * 1024 * 1024
#: How long a client may take to send its body; a webhook's arrives in one piece.
BODY_MS_MAX = 20_000
#: No documented webhook nests deeper than 20.
NESTING_MAX = 100

#: Most bytes of bodies, as announced, that a process holds until each is answered.
BODIES_BYTES_MAX = 32 * 1024 * 1024
#: Most of them of strangers; the rest is for who is known, or has proven a body lately.
STRANGERS_BYTES_MAX = BODIES_BYTES_MAX // 2
#: How long a body waits for room between two looks, about 1 s in all, and how many may wait.
ROOM_WAITS_MS, ROOM_WAITING_MAX = (0, *(1 << n for n in range(10))), 100
#: How many senders are remembered for a proven body, and for how long.
SENDERS_MAX, SENDER_MS_MAX = 1_000, 3_600_000
#: A body is read in pieces of so many bytes; one that is not larger takes no time to verify.
PIECE_BYTES = 64 * 1024

#: The statuses that webhooks are answered with.
STATUSES = (200, 400, 401, 403, 404, 408, 413, 500, 503)
_TOO_LARGE = "body_too_large"

#: Secret → number at the provider → account: whom a request with this secret may be for.
_Owners = Mapping[str, Mapping[str, str]]


class _Standing(IntEnum):
    """What is known of a sender whose body was not read yet."""

    STRANGER = 0
    #: Its last body was proven: another one of the same address may be behind this one.
    PROVEN = 1
    #: By the headers.
    KNOWN = 2


@dataclass(frozen=True, slots=True, eq=False)
class _Body:
    """A body that is held. ``connection``: gunicorn.conf.py's, None where another server runs."""

    size: int
    standing: _Standing
    connection: Any


class Bodies:
    """The bodies of one process: how many bytes it may hold, and whose go first.

    What a body is given room for is what it announces. Where there is none, bodies that wait for
    their senders are given up: those of strangers first, and of these the largest, for an honest
    webhook is small, and sent at once. ``clock``: monotonic ms.
    """

    def __init__(self, clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000) -> None:
        self._clock = clock
        #: The oldest first.
        self._held: dict[_Body, None] = {}
        self._waiting = 0
        #: Sender → when it last proved a body; who did so last is the last.
        self._senders: dict[str, int] = {}

    @contextlib.contextmanager
    def hold(self, size: int, sender: str, connection: object, *, is_known: bool) -> Iterator[None]:
        """Hold a body of ``size`` bytes during the block.

        ``is_known``: the headers proved the sender. Raise RefusalError, 503, if there is no room.
        """
        body = _Body(size, self._standing(sender, is_known=is_known), connection)
        self._make_room(body)
        self._held[body] = None
        try:
            yield
        except Exception:
            self.note(sender, is_proven=False)
            raise
        finally:
            del self._held[body]

    def note(self, sender: str, *, is_proven: bool) -> None:
        """Remember what became of the last body of ``sender``."""
        self._senders.pop(sender, None)
        if is_proven:
            self._senders[sender] = self._clock()
            if len(self._senders) > SENDERS_MAX:
                del self._senders[next(iter(self._senders))]

    def _standing(self, sender: str, *, is_known: bool) -> _Standing:
        if is_known:
            return _Standing.KNOWN
        proven_ms = self._senders.get(sender)
        is_proven = proven_ms is not None and self._clock() - proven_ms < SENDER_MS_MAX
        return _Standing.PROVEN if is_proven else _Standing.STRANGER

    def _make_room(self, body: _Body) -> None:
        for wait_ms in ROOM_WAITS_MS:
            if not _in_the_way(body, self._held):
                return
            self._give_up_for(body)
            if self._waiting >= ROOM_WAITING_MAX:
                break
            self._waiting += 1
            try:
                gevent.sleep(wait_ms / 1000)
            finally:
                self._waiting -= 1
        if _in_the_way(body, self._held):
            raise no_room()

    def _give_up_for(self, body: _Body) -> None:
        """Give up what is in the way; no smaller ones, unless ``body`` stands higher."""
        staying = [it for it in self._held if not getattr(it.connection, "given_up", False)]
        ready = [it for it in staying if getattr(it.connection, "waits", False)]
        ready = [it for it in ready if it.standing < body.standing or it.size >= body.size]
        for other in sorted(ready, key=lambda it: (it.standing, -it.size)):
            if other.standing not in _in_the_way(body, staying):
                return
            other.connection.give_up()
            staying.remove(other)


def _in_the_way(body: _Body, others: Iterable[_Body]) -> tuple[_Standing, ...]:
    """Return whose bodies have to go before there is room for ``body``, () if there is."""
    held = [body, *others]
    strange = sum(it.size for it in held if it.standing is _Standing.STRANGER)
    if body.standing is _Standing.STRANGER and strange > STRANGERS_BYTES_MAX:
        return (_Standing.STRANGER,)
    is_full = sum(it.size for it in held) > BODIES_BYTES_MAX
    return (_Standing.STRANGER, _Standing.PROVEN) if is_full else ()


class Answers:
    """Counts the answers to webhooks by channel and status; Falcon's middleware.

    gunicorn's workers share the sums where PROMETHEUS_MULTIPROC_DIR names a directory.
    """

    def __init__(self, channels: Iterable[str]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._counted = PrometheusCounter(
            "ai_admin_webhooks",
            "Answers to webhooks, by channel and status.",
            ("channel", "status"),
            registry=self.registry,
        )
        for channel in channels:
            for status in STATUSES:
                self._counted.labels(channel, status)

    def process_response(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        resource: object,
        req_succeeded: bool,  # noqa: ARG002, FBT001 - as Falcon calls it
    ) -> None:
        """Count an answer."""
        if isinstance(resource, Webhook) and req.method == "POST":
            self._counted.labels(resource.channel, resp.status_code).inc()


class Webhook:
    """Takes what a provider delivers, at one address for all accounts or at one for each."""

    def __init__(self, runtime: Runtime, provider: Provider, bodies: Bodies) -> None:
        self._runtime = runtime
        self._provider = provider
        self.channel = provider.name
        self._bodies = bodies
        configs = [config for config in runtime.accounts if config.channel == provider.name]
        #: The group of each account that names one.
        self._groups = {
            config.account_id: getattr(config.entry, provider.group_field)
            for config in configs
            if provider.group_field
        }
        self.guesses = Guesses(runtime.store, f"the webhook of {provider.name}")
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
        owners = self._addresses.get(account_id, self._unknown)
        head = request_of(req)
        is_known = self._is_known(head, owners)
        try:
            answer = self._take(req, head, owners, account_id, is_known=is_known)
        except RefusalError as refusal:
            # Reported if it is no stranger's: the provider will not deliver it again.
            if refusal.reason == NO_ROOM:
                _log_refused(self._provider, NO_ROOM)
            if is_known and refusal.reason == _TOO_LARGE:
                log.error("webhook.oversized", extra={"account": account_id})  # noqa: TRY400 - no fault
                self._alert_unread(not_understood(account_id, refusal.reason, None))
            raise
        if answer is None:
            # Its body is gone by now, and does not wait with it.
            if any(map(req.get_header, self._provider.proofs)):
                self.guesses.wrong("" if owners is self._unknown else account_id)
            raise refused(self._provider, self._provider.refusal, HTTPStatus.UNAUTHORIZED)
        resp.media = answer

    def _is_known(self, head: Request, owners: _Owners) -> bool:
        """Return whether the headers alone prove who posts."""
        verify = self._provider.verify_headers
        return verify is not None and verify(head, tuple(owners)) is not None

    def _take(
        self,
        req: falcon.Request,
        head: Request,
        owners: _Owners,
        account_id: str,
        *,
        is_known: bool,
    ) -> dict[str, object] | None:
        """Return the answer to a request that is proven, None to any other.

        The body is read where the headers leave it possible that it is. Raise as ``on_post``.
        """
        provider, secrets, sender = self._provider, tuple(owners), _sender(req)
        size = _announced(req)
        if owners is self._unknown:
            log.warning("webhook.unknown_account", extra={"count": 1})
        if not is_known and not provider.is_signed(head):
            return None
        with self._bodies.hold(size, sender, req.env.get("gunicorn.socket"), is_known=is_known):
            request = replace(head, raw=read_raw(req))
            proof = self._proof(request, secrets)
            self._bodies.note(sender, is_proven=proof is not None)
            if proof is None:
                return None
            if owners is self._unknown:
                # Only a provider that asks for no proof comes so far.
                raise unknown_account(f"account: no {provider.name} account has this id")
            accounts = owners[secrets[proof]] if provider.shared else {account_id: account_id}
            parsed = self._parse(req.content_type, request, accounts, secrets)
            answer = acknowledge(self._runtime, parsed)
            if provider.accepted:
                provider.accepted(self._runtime.store, parsed.events)
            return answer

    def _proof(self, request: Request, secrets: Sequence[str]) -> int | None:
        """Return the index of the secret that proves ``request``, None if none does.

        Others are served between two secrets, where a body is so large that each takes long.
        """
        if len(request.raw) <= PIECE_BYTES:
            return self._provider.verify(request, secrets)
        for index, secret in enumerate(secrets):
            gevent.sleep(0)
            if self._provider.verify(request, (secret,)) is not None:
                return index
        return None

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
        is_for_others = asked.isdisjoint(accounts) and not any(e.account_id for e in parsed.events)
        if parsed.unknown_accounts and is_for_others:
            log.error("webhook.unknown_account", extra={"count": parsed.unknown_accounts})
            raise unknown_account(f"{self._provider.number_field}: no account of this app has it")
        return parsed


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
    accounts, began_ns = runtime.accounts, time.monotonic_ns()
    receipts = receive(runtime.store, parsed.events, accounts.limits_of, accounts.reception_of)
    if (traces := runtime.store.figures.traces).kept:
        took_ms = (time.monotonic_ns() - began_ns) // 1_000_000
        for receipt in receipts:
            if receipt.status is Status.ACCEPTED:
                batch = f"{receipt.conversation_id}:{receipt.batch_id}"
                traces.past("receive", batch, ms=took_ms, count=receipt.count)
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

    Raise RefusalError: 413 over BODY_BYTES_MAX, 408 after BODY_MS_MAX, 400 if it broke off, 503 if
    it was given up.
    """
    stated = req.content_length
    try:
        # The whole read has one deadline: a limit per packet would let a client drip for ever.
        with gevent.Timeout(BODY_MS_MAX / 1000, TimeoutError("body")):
            raw = b"".join(_pieces(req, stated))
    except TimeoutError:
        message = f"body: not complete after {BODY_MS_MAX} ms"
        raise RefusalError(HTTPStatus.REQUEST_TIMEOUT, "body_too_slow", message) from None
    except (OSError, ParseException) as error:
        # The server's reader: the client went away, or its chunks do not parse.
        raise _broken_off(req, "broke off or is wrongly chunked") from error
    if len(raw) > BODY_BYTES_MAX:
        raise _too_large("more")
    if stated is not None and len(raw) != stated:
        raise _broken_off(req, f"{len(raw)} bytes, Content-Length: {stated}")
    return raw


def decode(content_type: str | None, raw: bytes) -> object:
    """Return the JSON of ``raw``; lone surrogates survive, they are cleaned later.

    Raise RefusalError, 400: another content type, not JSON, nested beyond NESTING_MAX.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != falcon.MEDIA_JSON:
        raise bad_request("content_type", "Content-Type: must be application/json")
    try:
        value: object = json.loads(raw)
        is_deep = raw.count(b"[") + raw.count(b"{") > NESTING_MAX and _is_deep(value)
    except RecursionError:
        is_deep = True
    except ValueError:
        # The error of the decoder quotes the body: it goes nowhere.
        raise bad_request("broken_json", "body: is not JSON") from None
    if is_deep:
        raise bad_request("too_deep", f"body: nested more than {NESTING_MAX} deep")
    return value


def request_of(req: falcon.Request) -> Request:
    """Return a request as providers read it, without its body."""
    return Request(
        method=req.method,
        path=req.path,
        query={name: req.get_param(name) or "" for name in req.params},
        headers=req.headers_lower,
        raw=b"",
        received_ms=time.time_ns() // 1_000_000,
    )


def _sender(req: falcon.Request) -> str:
    """Return whose body it is, where a proxy says so: it decides who goes first, and no more."""
    named = req.get_header("X-Forwarded-For", default="").rpartition(",")[2].strip()
    return named or req.remote_addr


def _announced(req: falcon.Request) -> int:
    """Return how many bytes the body has at most. Raise RefusalError, 413."""
    stated = req.content_length
    if stated is None:
        return BODY_BYTES_MAX  # Chunked, it does not say.
    if stated > BODY_BYTES_MAX:
        raise _too_large(f"{stated} bytes")
    return stated


def _pieces(req: falcon.Request, stated: int | None) -> Iterator[bytes]:
    """Yield the body in pieces, of one in chunks no more than tells that it is too large."""
    if stated is None and not req.env.get("wsgi.input_terminated"):
        return  # Nothing tells where it ends, or whether there is one.
    # Chunked: the server ends the stream with the body, so reading on does not wait.
    stream = req.stream if stated is None else req.bounded_stream
    left = BODY_BYTES_MAX + 1 if stated is None else stated
    while left > 0 and (piece := stream.read(min(left, PIECE_BYTES))):
        yield piece
        left -= len(piece)


def _is_deep(value: object) -> bool:
    level: list[Any] = [[value]]
    for _ in range(NESTING_MAX + 1):
        holders = (it.values() if isinstance(it, dict) else it for it in level)
        level = [inner for items in holders for inner in items if isinstance(inner, dict | list)]
    return bool(level)


def refused(provider: Provider, refusal: Refusal, status: HTTPStatus) -> RefusalError:
    """Return the answer to a request without proof, which is logged."""
    _log_refused(provider, refusal.code)
    return RefusalError(status, refusal.code, refusal.message)


def _log_refused(provider: Provider, reason: str) -> None:
    log.warning("webhook.refused", extra={"channel": provider.name, "reason": reason})


def _broken_off(req: falcon.Request, how: str) -> RefusalError:
    if getattr(req.env.get("gunicorn.socket"), "given_up", False):
        return no_room()
    return bad_request("body_incomplete", f"body: {how}")


def _too_large(size: str) -> RefusalError:
    message = f"body: {size}, at most {BODY_BYTES_MAX} bytes"
    return RefusalError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE, message)
