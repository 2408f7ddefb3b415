"""The simulator: a messenger in the browser, for accounts of the channel ``simulator``.

A developer's tool without authentication, so it is never served in production.
"""

import re
from http import HTTPStatus
from pathlib import Path

import falcon

from batching.model import TEXT_CHARACTERS_MAX
from channels.simulator import ID_LENGTH_MAX, SIMULATOR, conversation
from runtime.accounts import AccountConfig
from runtime.build import Runtime
from web.errors import RefusalError

#: Longest name of an account that is shown, in characters.
_NAME_LENGTH_MAX = 80
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
    """Give ``app`` the simulator's page and its state."""
    static = Static()
    app.add_route("/simulator", static, suffix="page")
    app.add_route("/simulator/assets/{name}", static)
    app.add_route("/simulator/accounts", AccountList(runtime))
    app.add_route("/simulator/state/{account_id}/{customer}", State(runtime))


class Static:
    """``/simulator`` and ``/simulator/assets/…``: the page, its few files in memory, no others.

    The page loads nothing from anywhere else.
    """

    def __init__(self) -> None:
        self._page = (_STATIC / "simulator.html").read_bytes()
        self._files = {
            path.name: (path.read_bytes(), _TYPES[path.suffix])
            for path in _STATIC.iterdir()
            if path.suffix in _TYPES
        }

    def on_get_page(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with the page."""
        _send(resp, self._page, "text/html; charset=utf-8")

    def on_get(self, _req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Answer 200 with the file. Raise RefusalError, 404."""
        if name not in self._files:
            raise RefusalError(HTTPStatus.NOT_FOUND, "unknown_asset", "asset: no such file")
        _send(resp, *self._files[name])


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
                    "name": _name(config),
                    "language": config.entry.language,
                    "idle_ms": config.limits.idle_ms,
                    "max_wait_ms": config.limits.max_wait_ms,
                    "max_messages": config.limits.max_messages,
                    "overdue_ms": config.limits.overdue_ms,
                    "text_characters_max": TEXT_CHARACTERS_MAX,
                }
                for config in self._runtime.accounts
                if config.channel == SIMULATOR.name
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
        config = self._runtime.accounts.config(account_id)
        if config is None or config.channel != SIMULATOR.name:
            message = "account: no simulator account has this id"
            raise RefusalError(HTTPStatus.NOT_FOUND, "unknown_account", message)
        if len(customer) > ID_LENGTH_MAX:
            message = f"customer: {len(customer)} characters, at most {ID_LENGTH_MAX}"
            raise RefusalError(HTTPStatus.BAD_REQUEST, "customer", message)
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


def _name(config: AccountConfig) -> str:
    """Return the first heading of the account's prompt file, its id without one."""
    found = re.search(r"^#+[ \t]+(\S.*)$", config.business, re.MULTILINE)
    return found[1].strip()[:_NAME_LENGTH_MAX] if found else config.account_id


def _send(resp: falcon.Response, data: bytes, content_type: str) -> None:
    resp.data = data
    resp.content_type = content_type
    resp.cache_control = ["no-cache"]
    resp.set_header("Content-Security-Policy", _POLICY)
    resp.set_header("X-Content-Type-Options", "nosniff")
    resp.set_header("Referrer-Policy", "no-referrer")
