"""Ask a model's API once, with less of the past if all of it was too much, and read a failure.

Every failure of the network is transient: asking a model twice costs money, and nothing else.
No error holds a URL, a key or a body.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx2

import httpjson
from batching.errors import AdminError, PermanentError, TransientError
from batching.model import Exchange
from httpjson import Fault, Reply, UnsendableError, WireError, retry_after_ms
from llm.prompt import window

#: The longest a connection may take, for each address of the host, ms.
CONNECT_MS_MAX = 10_000

_CODES = {
    Fault.REQUEST: "model_request",
    Fault.TIMEOUT: "model_timeout",
    Fault.BROKEN: "model_connection",
    Fault.OVERSIZED: "model_oversized",
}


def _call(
    client: httpx2.Client,
    url: str,
    body: object,
    *,
    headers: Mapping[str, str],
    timeout_ms: int,
) -> httpjson.Reply:
    """POST ``body`` as JSON and return the answer, whatever its status; follow no redirect.

    ``timeout_ms`` bounds everything from connecting to the last byte. Safe to run twice.
    Raise TransientError ``model_timeout``, ``model_connection`` or ``model_oversized``,
    PermanentError ``model_request`` for a URL or a header that cannot be sent.
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
        raise PermanentError(_CODES[error.fault], error.detail) from None
    except WireError as error:
        raise TransientError(_CODES[error.fault], error.detail) from None


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
    return any(
        _OVERFLOW_WORDS.search(_error_text(error, key)) for key in ("code", "type", "message")
    )


def _out_of_money(error: Mapping[str, Any]) -> bool:
    named = _error_text(error, "code") in _NO_MONEY or _error_text(error, "type") in _NO_MONEY
    return named or bool(_NO_MONEY_WORDS.search(_error_text(error, "message")))


def _error_text(error: Mapping[str, Any], key: str) -> str:
    value = error.get(key)
    return value if isinstance(value, str) else ""


#: Four messages of WhatsApp; what is longer is a model that does not stop.
ANSWER_CHARACTERS_MAX = 16_000

_LINE_END = re.compile("\r\n?|[\u2028\u2029\x85]")
#: What no reader sees and a program may obey: controls, zero widths, marks of direction, fillers,
#: private use, tags and variation selectors that can spell out a hidden text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ue000-\uf8ff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
#: Emoji and some scripts need joiners between two of their signs; nothing else does.
_IDLE_JOINER = re.compile(
    "(?<![^\x00-\x7f\\s\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]++(?![^\x00-\x7f\\s\u200c\u200d])"
    "|(?<=[\u200c\u200d])[\u200c\u200d]+"
)
#: Reasoning that servers without a parser for it leave in the answer.
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
#: Templates that open the reasoning in the prompt leave only its end in the answer.
_THOUGHT_END = re.compile(r"\A.*</think>", re.DOTALL)


def whole(text: str) -> str:
    """Return the answer fit to be sent: no reasoning, nothing invisible, valid Unicode.

    Raise TransientError: ``model_empty``, ``model_truncated`` where only reasoning came,
    ``model_overlong``.
    """
    text = _THOUGHT_END.sub("", _THOUGHT.sub("", text))
    if text.lstrip().startswith("<think>"):
        raise TransientError("model_truncated", "reasoning without an end")
    text = visible(text).encode("utf-8", "replace").decode().strip()
    if not text:
        raise TransientError("model_empty")
    if len(text) > ANSWER_CHARACTERS_MAX:
        raise TransientError(
            "model_overlong", f"{len(text)} characters: must be 1..{ANSWER_CHARACTERS_MAX}"
        )
    return text


def visible(text: str) -> str:
    """Return ``text`` without what cannot be seen. Safe to run twice."""
    return _IDLE_JOINER.sub("", _INVISIBLE.sub("", _LINE_END.sub("\n", text)))


def words(parts: Iterable[object]) -> str:
    """Return the words of an answer that came in parts; what is no text has none."""
    return "".join(_text(part) for part in parts)


def malformed(missing: str) -> TransientError:
    """Return the error for an answer without the documented form; ``missing`` names the part."""
    return TransientError("model_malformed", f"no {missing}")


def _text(part: object) -> str:
    match part:
        case {"type": "text", "text": str(text)}:
            return text
    return ""


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
    return _call(endpoint.http, endpoint.url, body, headers=endpoint.headers, timeout_ms=timeout_ms)
