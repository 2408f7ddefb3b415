"""Reads a refusal: what a model's API means by it, and when it may be asked again."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from batching.errors import AdminError, PermanentError, TransientError
from wire.post import Reply
from wire.retry_after import retry_after_ms

#: Below 500 these alone may pass by themselves.
_PASSING = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_KEY_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
#: OpenAI sends these with 429, Anthropic the last with 402, or says so in words with 400.
_NO_MONEY = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"}
)
_NO_MONEY_WORDS = re.compile(r"credit balance is too low|insufficient balance", re.IGNORECASE)
#: OpenAI and Groq name the code; vLLM, DeepSeek, llama.cpp, Gemini and Anthropic only say it.
_OVERFLOW_WORDS = re.compile(
    r"maximum context length|context[_ ]length|context size|prompt is too long|context limit"
    r"|input token count|reduce the length of the messages",
    re.IGNORECASE,
)


def refused(answer: Reply) -> AdminError | None:
    """Return the error that the answer stands for, None if it is no refusal.

    Some gateways put a refusal into a 200; the status is then the number in ``error.code``.
    """
    error = _error(answer.body)
    if answer.status < HTTPStatus.MULTIPLE_CHOICES and error is None:
        return None
    status = _status(answer, error or {})
    if not status:
        return TransientError("model_error", f"status {answer.status} with an error inside")
    named = _lasting(status, error or {})
    if named is None and (status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        wait_ms = retry_after_ms(answer.headers)
        return TransientError(f"model_{status}", retry_after_ms=wait_ms)
    return PermanentError(named or f"model_{status}", f"status {status}")


def _lasting(status: int, error: Mapping[str, Any]) -> str | None:
    """Return the code of what an operator must put right, None if it is something else."""
    if status in _KEY_REFUSED:
        return "model_auth"
    if status == HTTPStatus.PAYMENT_REQUIRED or _out_of_money(error):
        return "model_quota"
    return "model_context" if _too_long(status, error) else None


def overflowed(answer: Reply) -> bool:
    """Return whether the request was too long for the model."""
    error = _error(answer.body) or {}
    return _too_long(_status(answer, error), error)


def _error(body: object) -> dict[str, Any] | None:
    """Return the error object of a body; Gemini wraps the body in an array."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    if isinstance(error, str):
        return {"message": error}
    if isinstance(error, dict) and error:
        return error
    # Older vLLM sends the error without a wrapper.
    return body if isinstance(body, dict) and body.get("object") == "error" else None


def _status(answer: Reply, error: Mapping[str, Any]) -> int:
    """Return the status, that inside the error if the answer is a 2xx; 0 if it has none."""
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        return answer.status
    code = error.get("code")
    if isinstance(code, int) and HTTPStatus.BAD_REQUEST <= code <= 599:  # noqa: PLR2004 - of HTTP
        return int(code)
    return 0


def _too_long(status: int, error: Mapping[str, Any]) -> bool:
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return True
    if status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
        return False
    return any(_OVERFLOW_WORDS.search(_text(error, key)) for key in ("code", "type", "message"))


def _out_of_money(error: Mapping[str, Any]) -> bool:
    named = _text(error, "code") in _NO_MONEY or _text(error, "type") in _NO_MONEY
    return named or bool(_NO_MONEY_WORDS.search(_text(error, "message")))


def _text(error: Mapping[str, Any], key: str) -> str:
    value = error.get(key)
    return value if isinstance(value, str) else ""
