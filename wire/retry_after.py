"""How long an answer asks to wait."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

#: The longest wait that an answer can impose, ms: an absurd header must not outlive a deadline.
RETRY_AFTER_MS_MAX = 3_600_000

_DECIMAL = re.compile(r"\d+(\.\d+)?", re.ASCII)


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """Return how long the answer asks to wait, ms; None where it does not say so readably.

    It may say so in ms, in seconds or as a date. ``headers`` are asked for lower-case names.
    """
    exact = headers.get("retry-after-ms", "").strip()
    wait = headers.get("retry-after", "").strip()
    if _DECIMAL.fullmatch(exact):
        asked = float(exact)
    elif _DECIMAL.fullmatch(wait):
        asked = float(wait) * 1000
    else:
        try:
            # Both dates are the server's, so that its clock and ours need not agree.
            until, sent = (parsedate_to_datetime(date) for date in (wait, headers.get("date", "")))
            asked = (until - sent).total_seconds() * 1000
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0, int(min(asked, RETRY_AFTER_MS_MAX)))
