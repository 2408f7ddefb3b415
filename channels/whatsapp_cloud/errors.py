"""What a refusal of the Cloud API means for the message and for the account.

The error's code decides, not the HTTP status: 131056 comes as 400 and as 429, 3 comes as 500.
"""

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)

_VERDICTS: dict[type[AdminError], tuple[int, ...]] = {
    TransientError: (
        *(1, 2, 131016, 131057, 133016),  # the service is down or in maintenance
        *(4, 80007, 130429),  # the app, the business or the number sends too fast
        131056,  # this customer is written to too fast
    ),
    AmbiguousError: (131000,),  # "something went wrong": it may have gone out
    ChannelStoppedError: (
        *(0, 3, 10, 190, 131005),  # the token is no longer good, or not for this
        *range(200, 300),  # a permission is missing
        *(33, 131037, 131045, 133010),  # the number is gone, unnamed or not registered
        *(368, 131031, 131042, 131048),  # locked, not paid for, or taken for spam
    ),
    PermanentError: (
        *(131026, 131049, 131050, 130472, 130497),  # this customer cannot have it
        131047,  # the customer wrote more than 24 hours ago
        *(100, 131008, 131009, 131021, 131030),  # what we sent is wrong
        *(131051, 131052, 131053, 131062, 131063),  # it is of a kind that is not taken
        *range(132_000, 133_000),  # a template's fault
    ),
}

_BY_CODE = {code: verdict for verdict, codes in _VERDICTS.items() for code in codes}

#: By the HTTP status, where the code is absent or not in the table. Of the rest, 5xx among them,
#: nobody knows what came of it.
_BY_STATUS: dict[int, type[AdminError]] = {
    **dict.fromkeys(range(400, 500), PermanentError),
    # Nothing of ours is at this address, or not for us: true of every message.
    **dict.fromkeys((*range(300, 400), 401, 403, 404, 405), ChannelStoppedError),
    408: AmbiguousError,
    429: TransientError,
}


#: Meta's codes have seven digits at most; a longer number may be anything, a telephone too.
_CODE_MAX = 9_999_999


def named(code: int) -> str:
    """Return our name of one of Meta's error codes, fit for logs and alerts."""
    return f"cloud_{code}" if 0 <= code <= _CODE_MAX else "cloud_other"


def failure(status: int, code: int | None, *, retry_after_ms: int | None = None) -> AdminError:
    """Return the error to raise for an answer with this HTTP status and ``error.code``.

    ``code`` is None where the answer has none. ``retry_after_ms``: what it asked us to wait.
    """
    by_status = _BY_STATUS.get(status, AmbiguousError)
    verdict = by_status if code is None else _BY_CODE.get(code, by_status)
    name = f"cloud_http_{status}" if code is None else named(code)
    detail = f"the Cloud API answered HTTP {status}"
    if issubclass(verdict, TransientError):
        return verdict(name, detail, retry_after_ms=retry_after_ms)
    return verdict(name, detail)
