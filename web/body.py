"""A request's body: raw bytes within a limit and a time, then JSON within a depth."""

import contextlib
import json
from collections.abc import Iterable
from http import HTTPStatus

import falcon
import gevent  # type: ignore[import-untyped]
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from web.errors import RefusalError

#: Meta posts up to 3 MB; one byte more is refused.
BODY_BYTES_MAX = 3 * 1024 * 1024

#: So much of a body that is too large is still taken, for so long: a proxy that sends it on would
#: else meet a closed connection where the refusal is, and try another host.
DISCARDED_BYTES_MAX = 2 * BODY_BYTES_MAX
DISCARDED_MS_MAX = 2_000
DISCARDED_AT_ONCE = 64 * 1024

#: How long a client may take to send its body; a webhook's arrives in one piece.
BODY_MS_MAX = 20_000

#: No documented webhook nests deeper than 20.
NESTING_MAX = 100

#: The code of a refusal for size.
TOO_LARGE = "body_too_large"


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
            raw = _read(req, stated)
    except TimeoutError:
        raise RefusalError(
            HTTPStatus.REQUEST_TIMEOUT,
            "body_too_slow",
            f"body: not complete after {BODY_MS_MAX} ms",
        ) from None
    except (OSError, ParseException) as error:
        # The server's reader: the client went away, or its chunks do not parse.
        raise RefusalError(
            HTTPStatus.BAD_REQUEST, "body_incomplete", "body: broke off or is wrongly chunked"
        ) from error
    if len(raw) > BODY_BYTES_MAX:
        raise _too_large("more")
    if stated is not None and len(raw) != stated:
        raise RefusalError(
            HTTPStatus.BAD_REQUEST,
            "body_incomplete",
            f"body: {len(raw)} bytes, Content-Length: {stated}",
        )
    return raw


def decode(req: falcon.Request, raw: bytes) -> object:
    """Return what the JSON of ``raw`` says; lone surrogates survive, they are cleaned later.

    Raise RefusalError, 400: another content type, not JSON, nested beyond NESTING_MAX.
    """
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type != falcon.MEDIA_JSON:
        raise RefusalError(
            HTTPStatus.BAD_REQUEST, "content_type", "Content-Type: must be application/json"
        )
    try:
        value: object = json.loads(raw)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        # The error of the decoder quotes the body: it goes nowhere.
        raise RefusalError(HTTPStatus.BAD_REQUEST, "broken_json", "body: is not JSON") from None
    if raw.count(b"[") + raw.count(b"{") > NESTING_MAX and _deeper_than(value, NESTING_MAX):
        raise _too_deep()
    return value


def _read(req: falcon.Request, stated: int | None) -> bytes:
    if stated is not None:
        return req.bounded_stream.read(stated)
    if req.env.get("wsgi.input_terminated"):
        # Chunked: the server ends the stream with the body, so reading on does not wait.
        return req.stream.read(BODY_BYTES_MAX + 1)
    return b""


def _discard(req: falcon.Request) -> None:
    """Take the body and forget it, as far as it comes."""
    enough = gevent.Timeout(DISCARDED_MS_MAX / 1000, TimeoutError("body"))
    with contextlib.suppress(OSError, ParseException), enough:
        while req.bounded_stream.read(DISCARDED_AT_ONCE):
            pass


def _deeper_than(value: object, limit: int) -> bool:
    level = _containers([value])
    for _ in range(limit):
        level = [inner for item in level for inner in _containers(item)]
    return bool(level)


def _containers(value: object) -> list[object]:
    values = value.values() if isinstance(value, dict) else value
    if not isinstance(values, Iterable) or isinstance(values, str):
        return []
    return [item for item in values if isinstance(item, dict | list)]


def _too_large(size: str) -> RefusalError:
    return RefusalError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        TOO_LARGE,
        f"body: {size}, at most {BODY_BYTES_MAX} bytes",
    )


def _too_deep() -> RefusalError:
    return RefusalError(
        HTTPStatus.BAD_REQUEST, "too_deep", f"body: nested more than {NESTING_MAX} deep"
    )
