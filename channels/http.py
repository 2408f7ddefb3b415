"""Call a provider once, and say what a failure means for a send.

A send must not be repeated blindly, so the one question is whether the provider may have the
request. Until a connection stands it cannot: TransientError. After that nobody knows:
AmbiguousError. No error holds a URL, a token or a body.
"""

from collections.abc import Mapping

import httpx2

import httpjson
from batching.errors import AmbiguousError, PermanentError, TransientError
from httpjson import UnansweredError, UnsendableError, UnsentError

#: The longest a connection may take, for each address of the host, ms.
CONNECT_MS_MAX = 5_000


def post_json(
    client: httpx2.Client,
    url: str,
    body: object,
    *,
    headers: Mapping[str, str],
    timeout_ms: int,
    code_prefix: str,
) -> httpjson.Reply:
    """POST ``body`` as JSON and return the whole answer, whatever its status; follow no redirect.

    ``timeout_ms`` bounds everything from connecting to the last byte. Not safe to run twice.
    Raise TransientError ``<prefix>_unreachable`` where the provider certainly does not have the
    request, AmbiguousError ``<prefix>_timeout``, ``_broken`` or ``_oversized`` where it may, and
    PermanentError ``<prefix>_request`` where the URL or a header cannot be sent at all.
    """
    try:
        return httpjson.post_json(
            client,
            url,
            body,
            headers=headers,
            timeout_ms=timeout_ms,
            connect_ms_max=CONNECT_MS_MAX,
        )
    except UnsendableError as error:
        raise PermanentError(f"{code_prefix}_{error.fault}", error.detail) from None
    except UnsentError as error:
        raise TransientError(f"{code_prefix}_unreachable", error.detail) from None
    except UnansweredError as error:
        raise AmbiguousError(f"{code_prefix}_{error.fault}", error.detail) from None
