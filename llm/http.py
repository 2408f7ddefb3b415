"""Call a model's API once, and say what a failure means.

Every failure of the network is transient: asking a model twice costs money, and nothing else.
No error holds a URL, a key or a body.
"""

from collections.abc import Mapping

import httpx2

from batching.errors import PermanentError, TransientError
from wire import post
from wire.errors import Fault, UnsendableError, WireError

#: The longest a connection may take, for each address of the host, ms.
CONNECT_MS_MAX = 10_000

_CODES = {
    Fault.REQUEST: "model_request",
    Fault.TIMEOUT: "model_timeout",
    Fault.BROKEN: "model_connection",
    Fault.OVERSIZED: "model_oversized",
}


def post_json(
    client: httpx2.Client,
    url: str,
    body: object,
    *,
    headers: Mapping[str, str],
    timeout_ms: int,
) -> post.Reply:
    """POST ``body`` as JSON and return the answer, whatever its status; follow no redirect.

    ``timeout_ms`` bounds everything from connecting to the last byte. Safe to run twice.
    Raise TransientError ``model_timeout``, ``model_connection`` or ``model_oversized``,
    PermanentError ``model_request`` for a URL or a header that cannot be sent.
    """
    try:
        return post.post_json(
            client,
            url,
            body,
            headers=headers,
            timeout_ms=timeout_ms,
            connect_ms_max=CONNECT_MS_MAX,
        )
    except UnsendableError as error:
        raise PermanentError(_CODES[error.fault], error.detail) from None
    except WireError as error:
        raise TransientError(_CODES[error.fault], error.detail) from None
