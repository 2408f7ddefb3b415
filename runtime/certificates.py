"""Until when the certificates of our servers are valid, as a connection of our own meets them."""

import ast
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from runtime.settings import Settings

#: From when on a person should know, and must act, in ms before the end.
DAY_MS = 86_400_000
SOON_MS, LATE_MS = 21 * DAY_MS, 7 * DAY_MS
#: How long what was seen is good, ms: a certificate lasts for months.
KNOWN_MS = 600_000
#: How long one server may take to shake hands, in seconds.
_PATIENCE_S = 1.0
#: Schemes with TLS, and where their servers listen.
_PORTS = {"rediss": 6379, "amqps": 5671, "https": 443}
#: What OpenSSL says of a certificate whose time is over: X509_V_ERR_CERT_HAS_EXPIRED.
_EXPIRED = 10


@dataclass(frozen=True, slots=True)
class Certificate:
    """What ``of`` (ledger, broker, proxy) shows to those who call it by the setting ``about``.

    ``until_ms``: when it ends, ms since 1970; 0 if it ended already, None if it cannot be seen, and
    then ``why``.
    """

    of: str
    about: str
    until_ms: int | None
    why: str = ""


def certificates(settings: Settings) -> Iterator[Certificate]:
    """Call each server that is reached by TLS; yield nothing of those that are reached without."""
    for of, about, url in (
        ("ledger", "REDIS_URL", settings.redis_url),
        ("broker", "BROKER_URL", settings.broker_url),
        ("proxy", "CANARY_URL", settings.canary_url),
    ):
        if urlsplit(url).scheme in _PORTS:
            yield _seen(of, about, url)


def _seen(of: str, about: str, url: str) -> Certificate:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        context = ssl.create_default_context(cafile=_authority(parts.query))
        address = (host, parts.port or _PORTS[parts.scheme])
        with (
            socket.create_connection(address, timeout=_PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            found = connection.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            return Certificate(of, about, 0)
        return Certificate(of, about, None, error.verify_message)
    except (OSError, ValueError) as error:
        return Certificate(of, about, None, type(error).__name__)
    return Certificate(of, about, ssl.cert_time_to_seconds(str(found["notAfter"])) * 1000)


def _authority(query: str) -> str | None:
    """Return the file with the authority that an address names, None for the system's."""
    options = parse_qs(query)
    if "ssl_ca_certs" in options:
        return options["ssl_ca_certs"][0]
    given = ast.literal_eval(options.get("ssl_options", ["{}"])[0])
    named = given.get("ca_certs") or given.get("cafile") if isinstance(given, dict) else None
    return str(named) if named else None


class Known:
    """What was seen, looked at again after KNOWN_MS. ``clock``: monotonic ms."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._found: list[Certificate] = []
        self._again_ms = clock()

    def read(self) -> list[Certificate]:
        """Return the certificates."""
        if self._clock() >= self._again_ms:
            self._found = list(certificates(self._settings))
            self._again_ms = self._clock() + KNOWN_MS
        return self._found
