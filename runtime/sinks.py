"""Addresses at which people are told: mail, chats, push and webhooks, by the library apprise.

An address holds secrets: nothing but its number and its scheme is ever shown. Each is told in a
thread of its own, and waited for no longer than SEND_S_MAX: one that hangs delays no other.
"""

import logging
import re
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from batching.errors import ConfigurationError
from config import Mistake
from config.urls import host_of
from runtime.logs import redacted
from runtime.meanings import Severity
from runtime.needs import NOTIFY_FIELD

if TYPE_CHECKING:
    from runtime.accounts import AccountConfig
    from runtime.settings import Settings

#: How long an address is waited for, s; all are told at the same time.
SEND_S_MAX = 10.0
_LIBRARY = "apprise"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,20})://", re.IGNORECASE)
_STATUS = re.compile(r"error[ =:]+([1-5]\d\d)\b", re.IGNORECASE)
_UNREACHED = re.compile(r"connection|socket|timed? ?out|timeout", re.IGNORECASE)
_SECRET_LENGTH_MIN = 4
#: Of apprise's services those with one of these modes call the public server, over TLS.
_PUBLIC_MODE = "cloud"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent to an address."""

    title: str
    body: str
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a message. ``code``: "" if it was taken; ``says``: why not, in words."""

    code: str = ""
    says: str = "taken"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an address leads. ``host``: "" for a public service, which the library knows."""

    host: str
    in_clear: bool
    is_verified: bool


@dataclass(slots=True)
class Address:
    """One address. ``name`` may be shown; ``account_id``: "" for the alerts of all accounts."""

    name: str
    account_id: str
    _url: str = field(repr=False)
    _service: Any = field(repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def destination(self) -> Destination:
        """Return where it leads."""
        service = self._service
        if not service.protocol or getattr(service, "mode", None) == _PUBLIC_MODE:
            return Destination("", in_clear=False, is_verified=bool(service.verify_certificate))
        host = str(getattr(service, "smtp_host", "") or service.host or "").lower()
        return Destination(
            host_of(f"x://{host}") or host,
            in_clear=not service.secure,
            is_verified=bool(service.verify_certificate),
        )

    def send(self, message: Message) -> "Sending":
        """Begin to send; one message at a time."""
        if self._thread and self._thread.is_alive():
            return Sending(self, Outcome("busy", "the message before is still being sent"))
        sending = Sending(self)
        self._thread = threading.Thread(
            target=sending.run, args=(self._service, message), name="sink", daemon=True
        )
        self._thread.start()
        sending.thread = self._thread
        return sending

    def hidden(self, text: str) -> str:
        """Return ``text`` without any part of the address beyond its scheme."""
        parts = re.split(r"[\s/:@?&=#,;+]+", self._url.partition("://")[2])
        for part in {*parts, *map(unquote, parts)}:
            if len(part) >= _SECRET_LENGTH_MIN:
                text = text.replace(part, "***")
        return redacted(text)


@dataclass(slots=True)
class Sending:
    """A message on its way to an address."""

    address: Address
    result: Outcome | None = None
    thread: threading.Thread | None = None
    _end: float = field(default_factory=lambda: time.monotonic() + SEND_S_MAX)

    def run(self, service: Any, message: Message) -> None:  # noqa: ANN401 - one of apprise's
        """Send, and note what became of it; an error of the library is a refusal."""
        said = _listener()
        said.begin()
        try:
            kind = _kind_of(message.severity)
            taken = service.notify(
                body=message.body, title=message.title, notify_type=kind, body_format="text"
            )
        except Exception as error:  # noqa: BLE001 - of any of a hundred services
            self.result = Outcome("refused", f"failed: {type(error).__name__}")
            said.end()
            return
        lines = said.end()
        self.result = Outcome() if taken else _refusal(lines, self.address)

    def outcome(self) -> Outcome:
        """Wait for what becomes of it, SEND_S_MAX from its beginning at most.

        A message that timed out may still be taken.
        """
        if self.thread:
            self.thread.join(max(0.0, self._end - time.monotonic()))
        return self.result or Outcome("timed_out", f"did not answer within {SEND_S_MAX:.0f} s")


def addresses_of(settings: "Settings", configs: Iterable["AccountConfig"]) -> list[Address]:
    """Return the addresses of the settings, then those of the accounts.

    Of accounts those whose secrets this process has. Raise ConfigurationError that names each
    address that cannot be one by its number and scheme.
    """
    found: list[Address] = []
    mistakes: list[Mistake] = []
    for where, account_id, url in _urls(settings, configs):
        name = f"{where} ({_scheme_of(url)})"
        service = _service(url)
        if service is None:
            problem = f"is no address that apprise knows ({_scheme_of(url)}://…)"
            mistakes.append(Mistake(where, f"{problem}: https://appriseit.com/services has them"))
        else:
            found.append(Address(name, account_id, url, service))
    if mistakes:
        raise ConfigurationError("settings", "\n".join(map(str, mistakes)))
    return found


def _urls(
    settings: "Settings", configs: Iterable["AccountConfig"]
) -> Iterator[tuple[str, str, str]]:
    """Yield where each address stands, the account it is for, and the address."""
    for number, url in enumerate(settings.notify_urls.split(), start=1):
        yield f"NOTIFY_URLS {number}", "", url
    for config in configs:
        for number, url in enumerate(config.secrets_of(NOTIFY_FIELD), start=1):
            yield f"account {config.account_id}: {NOTIFY_FIELD} {number}", config.account_id, url


def _scheme_of(url: str) -> str:
    found = _SCHEME.match(url)
    return found[1].lower() if found else "none"


def _service(url: str) -> Any:  # noqa: ANN401 - one of apprise's
    """Return the library's service for an address, None if it knows none."""
    _listener()
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - a second and 30 MB

    asset = AppriseAsset(
        app_id="AI Admin",
        app_desc="AI Admin",
        app_url="",
        image_url_mask="",
        image_path_mask=False,
        http_redirects=False,
        async_mode=False,
        storage_mode="memory",
        allow_templates=False,
    )
    if not _SCHEME.match(url):
        return None
    try:
        service: Any = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    except Exception:  # noqa: BLE001 - a service that cannot read its address
        return None
    if service:
        # Its pause of 5.5 s between two messages would look like an address that hangs.
        service.request_rate_per_sec = 0
    return service or None


def _kind_of(severity: Severity) -> Any:  # noqa: ANN401 - one of apprise's
    from apprise import NotifyType  # noqa: PLC0415

    kinds = {Severity.WARNING: NotifyType.WARNING, Severity.INFO: NotifyType.INFO}
    return kinds.get(severity, NotifyType.FAILURE)


def _refusal(lines: Collection[str], address: Address) -> Outcome:
    """Return why a message was not taken, by what the library said of it."""
    text = " ".join(lines)
    says = address.hidden(text) or "refused without a reason"
    if status := _STATUS.search(text):
        return Outcome(f"http_{status[1]}", says)
    return Outcome("no_connection" if _UNREACHED.search(text) else "refused", says)


class _Listener(logging.Handler):
    """Keeps what the library says in each thread; it must reach no log, for it quotes addresses."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[int, list[str]] = {}

    def begin(self) -> None:
        self._said[threading.get_ident()] = []

    def end(self) -> list[str]:
        return self._said.pop(threading.get_ident(), [])

    def emit(self, record: logging.LogRecord) -> None:
        if (lines := self._said.get(threading.get_ident())) is not None:
            lines.append(record.getMessage())


def _listener() -> _Listener:
    """Return the one listener, before the library says anything."""
    library = logging.getLogger(_LIBRARY)
    library.propagate = False
    for handler in library.handlers:
        if isinstance(handler, _Listener):
            return handler
    listener = _Listener()
    library.addHandler(listener)
    library.setLevel(logging.WARNING)
    return listener
