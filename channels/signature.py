"""Tell a provider's webhook from a stranger's. Constant time; no input raises."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence

#: How far a signed timestamp may lie from our clock, either way, ms.
SKEW_MS_MAX = 300_000
#: Digits of the largest timestamp that is read; ms since the epoch have 13 until the year 2286.
_TIMESTAMP_DIGITS_MAX = 16


def sha256_matches(
    raw: bytes, header: str, secrets: Sequence[str], prefix: str = "sha256="
) -> int | None:
    """Return the index of the secret that signed ``raw``, None if there is none.

    ``header`` is ``prefix`` and the hex HMAC-SHA256 over the bytes as they were received.
    An empty secret signs nothing: anybody could use it.
    """
    given = _bytes(header.lower())
    return _first(
        bool(secret) and hmac.compare_digest(given, _bytes(prefix + _hmac_hex(raw, secret)))
        for secret in secrets
    )


def gateway_matches(
    raw: bytes,
    *,
    method: str,
    path: str,
    timestamp: str,
    signature: str,
    secrets: Sequence[str],
    now_ms: int,
) -> int | None:
    """Return the index of the secret that signed a gateway's request, None if there is none.

    ``timestamp`` and ``signature`` are the headers ``X-Timestamp`` (ms) and ``X-Signature``: hex
    HMAC-SHA256 of ``METHOD:path:timestamp:body``. Older or newer than five minutes is refused.
    """
    if not is_fresh(timestamp, now_ms):
        return None
    signed = _bytes(f"{method.upper()}:{path}:{timestamp}:") + raw
    return sha256_matches(signed, signature, secrets, prefix="")


def is_fresh(timestamp: str, now_ms: int) -> bool:
    """Say whether ``timestamp`` is a number of ms within five minutes of ``now_ms``."""
    if not (timestamp.isascii() and timestamp.isdigit()):
        return False
    return len(timestamp) <= _TIMESTAMP_DIGITS_MAX and abs(int(timestamp) - now_ms) <= SKEW_MS_MAX


def secret_matches(given: str, secrets: Sequence[str]) -> int | None:
    """Return the index of the shared secret that was ``given``, None if it is none of them.

    Digests are compared, so that the time taken does not tell the length either.
    """
    digest = hashlib.sha256(_bytes(given)).digest()
    return _first(
        bool(secret) and hmac.compare_digest(digest, hashlib.sha256(_bytes(secret)).digest())
        for secret in secrets
    )


def _hmac_hex(raw: bytes, secret: str) -> str:
    return hmac.new(_bytes(secret), raw, hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    # A header may hold any byte, decoded to any code point: none of them may raise.
    return text.encode("utf-8", "surrogatepass")


def _first(matches: Iterable[bool]) -> int | None:
    # Every secret is tried: the time taken must not tell which one fitted.
    found = [index for index, match in enumerate(list(matches)) if match]
    return found[0] if found else None
