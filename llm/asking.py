"""Asks a model's API, with less of the past if all of it was too much."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from batching.errors import TransientError
from batching.model import Exchange
from llm.history import window
from llm.http import post_json
from llm.refusal import overflowed, refused
from wire.post import Reply

#: What is left of the past when the model's context overflowed: enough to know what "yes" means.
SCARCE_EXCHANGES_MAX = 2
SCARCE_CHARACTERS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask. ``timeout_ms`` is for everything, a second try included."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    http: httpx2.Client
    timeout_ms: int


def ask(
    endpoint: Endpoint,
    history: Sequence[Exchange],
    body_of: Callable[[Sequence[Exchange]], Mapping[str, Any]],
) -> Any:  # noqa: ANN401 - JSON is whatever it is
    """Return the decoded body of a success, None where it is not JSON.

    ``body_of`` makes a request of the past that is to be told. If the model finds it too long, it
    is asked once more, with less. Raise TransientError or PermanentError.
    """
    end_s = time.monotonic() + endpoint.timeout_ms / 1000
    told = window(history)
    answer = _post(endpoint, body_of(told), endpoint.timeout_ms)
    if overflowed(answer):
        fewer = window(
            told, exchanges_max=SCARCE_EXCHANGES_MAX, characters_max=SCARCE_CHARACTERS_MAX
        )
        left_ms = int((end_s - time.monotonic()) * 1000)
        if fewer != told and left_ms <= 0:
            raise TransientError("model_timeout", "no time left to ask with less history")
        if fewer != told:
            answer = _post(endpoint, body_of(fewer), left_ms)
    error = refused(answer)
    if error is not None:
        raise error
    return answer.body


def _post(endpoint: Endpoint, body: Mapping[str, Any], timeout_ms: int) -> Reply:
    return post_json(
        endpoint.http, endpoint.url, body, headers=endpoint.headers, timeout_ms=timeout_ms
    )
