"""The end of every webhook: what came in goes into the ledger, then it is acknowledged."""

import logging
from collections import Counter
from http import HTTPStatus

import falcon

from batching.flow import receive
from batching.model import Status
from channels.inbound import Parsed
from runtime.build import Runtime
from web.errors import RETRY_AFTER_S, RefusalError

log = logging.getLogger(__name__)


def acknowledge(runtime: Runtime, parsed: Parsed, resp: falcon.Response) -> None:
    """Answer 200 with counts once the ledger has, or had, every message; one round trip.

    Raise LedgerUnavailableError, and RefusalError 503 where a conversation holds too much: its
    message's id is not recorded then, so that the provider's next delivery is taken.
    """
    if parsed.malformed:
        log.error("webhook.malformed", extra={"count": parsed.malformed})
    if parsed.unknown_accounts:
        log.error("webhook.unknown_account", extra={"count": parsed.unknown_accounts})
    receipts = receive(runtime.store, parsed.events, runtime.accounts.limits_of)
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
    resp.media = {
        "status": "ok",
        "accepted": counts[Status.ACCEPTED],
        "duplicate": counts[Status.DUPLICATE],
        "suppressed": counts[Status.SUPPRESSED],
        "malformed": parsed.malformed,
        "unknown_account": parsed.unknown_accounts,
    }
