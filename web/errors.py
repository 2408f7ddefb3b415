"""The body of every refusal: one JSON form, never a stack trace.

    {"error": {"code": "body_too_large", "message": "body: over 3145728 bytes"}}

``code`` is constant; ``message`` names the thing and the limit, and repeats nothing of the request
but its size.
"""

import json
import logging
import traceback
from http import HTTPStatus
from typing import Any, NoReturn

import falcon

from batching.errors import LedgerUnavailableError, MalformedError
from runtime.outages import Outages

log = logging.getLogger(__name__)

#: Retry-After: when a provider may deliver again, in seconds, HTTP's unit.
RETRY_AFTER_S = 5

#: MalformedError codes about the size: 413, not 400.
SIZE_CODES = frozenset({"too_many_items"})


#: The code of ``no_room``.
NO_ROOM = "no_room"


class RefusalError(falcon.HTTPError):
    """Ends the request with ``status`` and the error body. ``reason``: the constant code."""

    def __init__(
        self, status: HTTPStatus, reason: str, message: str, *, retry_after_s: int | None = None
    ) -> None:
        headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        super().__init__(int(status), description=message, headers=headers)
        self.reason = reason


def bad_request(reason: str, message: str) -> RefusalError:
    """Return the answer to what is not as documented. ``reason``: the constant code."""
    return RefusalError(HTTPStatus.BAD_REQUEST, reason, message)


def unknown_account(message: str) -> RefusalError:
    """Return the answer to what is proven and for no account of ours."""
    return RefusalError(HTTPStatus.NOT_FOUND, "unknown_account", message)


def no_room() -> RefusalError:
    """Return the answer to a body that finds no room now, and may come again."""
    return RefusalError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        NO_ROOM,
        "body: there is no room for it beside others, nothing was accepted; "
        f"try again in {RETRY_AFTER_S} s",
        retry_after_s=RETRY_AFTER_S,
    )


def install(app: falcon.App[falcon.Request, falcon.Response], outages: Outages) -> None:
    """Serialize every refusal and failure of ``app`` in the one JSON form.

    ``outages`` is given each webhook that was refused because the ledger could not take it.
    """

    def refuse(
        req: falcon.Request, _resp: falcon.Response, error: Exception, _params: dict[str, Any]
    ) -> NoReturn:
        if isinstance(error, LedgerUnavailableError):
            raise _unavailable(error, outages, is_webhook=req.method == "POST")
        raise _refusal(error, req.uri_template or "")

    app.set_error_serializer(_serialize)
    app.add_error_handler(Exception, refuse)


def _serialize(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    phrase = HTTPStatus(error.status_code).phrase
    reason = getattr(error, "reason", phrase.lower().replace(" ", "_"))
    # The route, not the path, which may hold anything.
    message = error.description or f"{req.uri_template or 'address'}: {phrase.lower()}"
    resp.content_type = falcon.MEDIA_JSON
    resp.text = json.dumps({"error": {"code": reason, "message": message}})


def _unavailable(
    error: LedgerUnavailableError, outages: Outages, *, is_webhook: bool
) -> RefusalError:
    """Return the answer while the ledger is away; a page that is asked is no fault of its own."""
    outages.failed("ledger", error.code, refused=int(is_webhook))
    if is_webhook:
        log.warning("webhook.unavailable", extra={"code": error.code})
    return RefusalError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "ledger_unavailable",
        f"ledger: cannot be written now, nothing was accepted; try again in {RETRY_AFTER_S} s",
        retry_after_s=RETRY_AFTER_S,
    )


def _refusal(error: Exception, route: str) -> RefusalError:
    if isinstance(error, MalformedError):
        too_large = error.code in SIZE_CODES
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST
        return RefusalError(status, error.code, error.detail or error.code)
    # The exception's message may quote a customer; its class and place do not.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename}:{frame.lineno}"
    fields = {"error": type(error).__qualname__, "place": place, "route": route}
    log.error("request.failed", extra=fields, exc_info=error)
    message = "request: failed inside, it is logged"
    return RefusalError(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", message)
