"""The simulator: a messenger in the browser, for accounts of the channel ``simulator``.

A developer's tool without authentication, so it is never served in production.
"""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import falcon
import redis

from batching.errors import LedgerUnavailableError
from batching.model import InboundMessage
from batching.store import server_ms
from channels.simulator import (
    ANSWERS_MAX,
    ANSWERS_MS,
    ID_LENGTH_MAX,
    customer_key,
    parse,
    transcript,
)
from runtime.build import Runtime
from web.body import decode, read_raw
from web.errors import RefusalError
from web.intake import acknowledge


def record(client: redis.Redis, conversation_id: str, message: InboundMessage) -> None:
    """Note a message that the ledger has. Safe to run twice. Raise LedgerUnavailableError."""
    key = customer_key(conversation_id)
    try:
        note = {
            "id": message.message_id,
            "text": message.text,
            "at_ms": server_ms(client.time()),
        }
        with client.pipeline(transaction=True) as pipe:
            pipe.rpush(key, json.dumps(note))
            pipe.ltrim(key, -ANSWERS_MAX, -1)
            pipe.pexpire(key, ANSWERS_MS)
            pipe.execute()
    except redis.RedisError as error:
        raise LedgerUnavailableError("simulator_unreachable", type(error).__name__) from None


def conversation(client: redis.Redis, conversation_id: str) -> list[dict[str, Any]]:
    """Return both sides by time: from, id, text, at_ms, and of an answer the ids it answers.

    Raise LedgerUnavailableError.
    """
    try:
        kept: Any = client.lrange(customer_key(conversation_id), 0, -1)
    except redis.RedisError as error:
        raise LedgerUnavailableError("simulator_unreachable", type(error).__name__) from None
    written: dict[str, dict[str, Any]] = {}
    for raw in kept:
        note = json.loads(raw)
        # A message that was delivered again is the same message: the first time counts.
        written.setdefault(note["id"], {"from": "customer", **note})
    answered = [
        {
            "from": "business",
            # An answer that was sent twice is to be seen twice.
            "id": f"{answer['provider_id']}:{answer['at_ms']}",
            "text": answer["text"],
            "answers": answer["answers"],
            "at_ms": answer["at_ms"],
        }
        for answer in transcript(client, conversation_id)
    ]
    return sorted([*written.values(), *answered], key=lambda message: message["at_ms"])


CHANNEL = "simulator"

#: States in which a batch in flight waits, and nobody is typing.
_WAITING_STATES = frozenset({"waiting", "ambiguous"})

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_routes(app: falcon.App[falcon.Request, falcon.Response], runtime: Runtime) -> None:
    """Give ``app`` the simulator's page, its state and its webhook."""
    app.add_route("/simulator", Page())
    app.add_route("/simulator/assets/{name}", Asset())
    app.add_route("/simulator/accounts", AccountList(runtime))
    app.add_route("/simulator/state/{account_id}/{customer}", State(runtime))
    app.add_route("/webhooks/simulator/{account_id}", SimulatorWebhook(runtime))


class Page:
    """``/simulator``: the page, which loads nothing from anywhere else."""

    def __init__(self) -> None:
        self._html = (_STATIC / "simulator.html").read_bytes()

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with the page."""
        _send_static(resp, self._html, "text/html; charset=utf-8")


class Asset:
    """``/simulator/assets/…``: the page's few files, held in memory, no others."""

    def __init__(self) -> None:
        self._files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in _STATIC.iterdir()
            if path.suffix in _TYPES
        }

    def on_get(self, _req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answer 200 with the file. Raise RefusalError, 404."""
        if name not in self._files:
            raise RefusalError(HTTPStatus.NOT_FOUND, "unknown_asset", "asset: no such file")
        _send_static(resp, *self._files[name])


class AccountList:
    """``/simulator/accounts``: the accounts one may write to, with the limits they answer by."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200."""
        resp.media = {
            "accounts": [
                {
                    "id": config.account_id,
                    "language": config.language,
                    "idle_ms": config.limits.idle_ms,
                    "max_wait_ms": config.limits.max_wait_ms,
                    "max_messages": config.limits.max_messages,
                }
                for config in self._runtime.accounts
                if config.channel == CHANNEL
            ]
        }


class State:
    """``/simulator/state/…``: a conversation as it stands; the page asks a few times a second."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_get(
        self, _req: falcon.Request, resp: falcon.Response, account_id: str, customer: str
    ) -> None:
        """Answer 200. Raise RefusalError, 404 or 400, and LedgerUnavailableError."""
        _simulated(self._runtime, account_id)
        if len(customer) > ID_LENGTH_MAX:
            raise RefusalError(
                HTTPStatus.BAD_REQUEST,
                "customer",
                f"customer: {len(customer)} characters, at most {ID_LENGTH_MAX}",
            )
        store = self._runtime.store
        conversation_id = store.conversation_id(account_id, customer)
        # Counts first: an answer that leaves in between is then seen, not missed.
        peek = store.peek(conversation_id)
        resp.cache_control = ["no-store"]
        resp.media = {
            "now_ms": peek.now_ms,
            "open": {"count": peek.open_count, "due_ms": peek.due_ms},
            "flight": {
                "count": peek.flight_count,
                "stage": peek.stage,
                "waiting": peek.state in _WAITING_STATES,
            },
            "messages": conversation(store.client, conversation_id),
        }


class SimulatorWebhook:
    """``/webhooks/simulator/…``: takes what the page sends, the way a provider's webhook would."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_post(self, req: falcon.Request, resp: falcon.Response, account_id: str) -> None:
        """Take a message; the module ``web.intake`` says with what outcome."""
        _simulated(self._runtime, account_id)
        parsed = parse(decode(req, read_raw(req)), account_id)
        acknowledge(self._runtime, parsed, resp)
        store = self._runtime.store
        for event in parsed.events:
            if isinstance(event, InboundMessage):
                record(store.client, store.conversation_id(account_id, event.customer), event)


def _simulated(runtime: Runtime, account_id: str) -> None:
    config = runtime.accounts.config(account_id)
    if config is None or config.channel != CHANNEL:
        raise RefusalError(
            HTTPStatus.NOT_FOUND, "unknown_account", "account: no simulator account has this id"
        )


def _send_static(resp: falcon.Response, data: bytes, content_type: str) -> None:
    resp.data = data
    resp.content_type = content_type
    resp.cache_control = ["no-cache"]
    resp.set_header("Content-Security-Policy", _POLICY)
    resp.set_header("X-Content-Type-Options", "nosniff")
    resp.set_header("Referrer-Policy", "no-referrer")
