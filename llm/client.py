"""Ask a model's HTTP API, again with less of the past if its context overflowed; read the reply.

Asking again costs money and does no other harm, so every failure of the network is a
TransientError. Only a request of ours that cannot be sent or is refused, a refused key and an
exhausted quota are permanent. No error holds a URL, a key or a body.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any

import httpx2
from pydantic import AfterValidator

from batching.errors import AdminError, PermanentError, TransientError
from batching.model import Exchange
from config import Table, Whole, Word
from httpjson import ErrorMap, Failure, Reply, post_json, retry_after_ms
from llm.prompt import window

#: Limit for connecting to one address of the host, ms.
CONNECT_MS_MAX = 10_000
#: History sent again after the context overflowed: enough to know what "yes" refers to.
SCARCE_EXCHANGES_MAX = 2
SCARCE_CHARACTERS_MAX = 1_000
#: Four WhatsApp messages; anything longer is a model that does not stop.
ANSWER_CHARACTERS_MAX = 16_000

_TEMPERATURE_MAX = 2


def _temperature(value: float) -> float:
    if not 0 <= value <= _TEMPERATURE_MAX:
        raise ValueError(f"must be 0..{_TEMPERATURE_MAX}")
    return value


class RemoteModel(Table):
    """The keys of ``[account.model]`` that every remote model has.

    ``timeout_ms`` covers the whole answer, a second try included. ``temperature`` None leaves it
    to the model; reasoning models refuse one.
    """

    model: Word
    timeout_ms: Annotated[int, Whole(1_000, 300_000)] = 60_000
    output_tokens_max: Annotated[int, Whole(16, 32_000)] = 800
    temperature: Annotated[float, AfterValidator(_temperature)] | None = None


#: Asking twice costs money and does no other harm, so all but a fault of ours is tried again.
_ERRORS: ErrorMap = {
    Failure.REQUEST: (PermanentError, "model_request"),
    Failure.UNREACHABLE: (TransientError, "model_connection"),
    Failure.CONNECT_TIMEOUT: (TransientError, "model_timeout"),
    Failure.TIMEOUT: (TransientError, "model_timeout"),
    Failure.BROKEN: (TransientError, "model_connection"),
    Failure.OVERSIZED: (TransientError, "model_oversized"),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask. ``timeout_ms`` covers everything, a second try included."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    http: httpx2.Client
    timeout_ms: int

    def post(self, body: Mapping[str, Any], timeout_ms: int) -> Reply:
        """POST ``body`` and return the reply, whatever its status. Safe to run twice.

        Raise TransientError ``model_timeout``, ``model_connection`` or ``model_oversized``, and
        PermanentError ``model_request`` for a URL or a header that cannot be sent.
        """
        return post_json(
            self.http,
            self.url,
            body,
            headers=self.headers,
            timeout_ms=timeout_ms,
            connect_ms_max=CONNECT_MS_MAX,
            errors=_ERRORS,
        )


def ask(
    endpoint: Endpoint,
    history: Sequence[Exchange],
    body_of: Callable[[Sequence[Exchange]], Mapping[str, Any]],
) -> Any:  # noqa: ANN401 - JSON may be anything
    """Return the decoded body of a successful reply, None if it is not JSON.

    ``body_of`` makes a request of the exchanges it is given. If the request is too long for the
    model, ask once more with less history. Raise TransientError or PermanentError.
    """
    end_s = time.monotonic() + endpoint.timeout_ms / 1000
    kept = window(history)
    reply = endpoint.post(body_of(kept), endpoint.timeout_ms)
    error = error_of(reply)
    if error is not None and error.code == "model_context":
        fewer = window(
            kept, exchanges_max=SCARCE_EXCHANGES_MAX, characters_max=SCARCE_CHARACTERS_MAX
        )
        left_ms = int((end_s - time.monotonic()) * 1000)
        if fewer != kept and left_ms <= 0:
            raise TransientError("model_timeout", "no time left to ask with less history")
        if fewer != kept:
            reply = endpoint.post(body_of(fewer), left_ms)
            error = error_of(reply)
    if error is not None:
        raise error
    return reply.body


#: The statuses below 500 after which asking again may help.
_RETRYABLE = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.CONFLICT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_KEY_REFUSED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
#: OpenAI sends these with 429, Anthropic the last with 402, or only says so in the text of a 400.
_QUOTA_CODES = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"}
)
_QUOTA_TEXT = re.compile(r"credit balance is too low|insufficient balance", re.IGNORECASE)
#: OpenAI and Groq name a code; vLLM, DeepSeek, llama.cpp, Gemini and Anthropic only say it.
_CONTEXT_TEXT = re.compile(
    r"maximum context length|context[_ ]length|context size|prompt is too long|context limit"
    r"|input token count|reduce the length of the messages",
    re.IGNORECASE,
)


def error_of(reply: Reply) -> AdminError | None:
    """Return the error that a reply stands for, None for a success.

    Some gateways answer 200 with an error inside; the status is then the number in its ``code``.
    """
    error = _error_object(reply.body)
    if reply.status < HTTPStatus.MULTIPLE_CHOICES and error is None:
        return None
    error = error or {}
    status = _status(reply, error)
    if not status:
        return TransientError("model_error", f"status {reply.status} with an error inside")
    code = _operator_code(status, error)
    if code is None and (status in _RETRYABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        wait_ms = retry_after_ms(reply.headers)
        return TransientError(f"model_{status}", retry_after_ms=wait_ms)
    return PermanentError(code or f"model_{status}", f"status {status}")


def _operator_code(status: int, error: Mapping[str, Any]) -> str | None:
    """Return the code of an error that an operator must put right, None for any other."""
    code, kind, text = (
        value if isinstance(value := error.get(key), str) else ""
        for key in ("code", "type", "message")
    )
    if status in _KEY_REFUSED:
        return "model_auth"
    if (
        status == HTTPStatus.PAYMENT_REQUIRED
        or not _QUOTA_CODES.isdisjoint({code, kind})
        or _QUOTA_TEXT.search(text)
    ):
        return "model_quota"
    may_be_long = status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (
        may_be_long and any(map(_CONTEXT_TEXT.search, (code, kind, text)))
    ):
        return "model_context"
    return None


def _error_object(body: object) -> dict[str, Any] | None:
    """Return the error object of a body, None if it has none; Gemini wraps it in an array."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, str):
        return {"message": error}
    if isinstance(error, dict) and error:
        return error
    # Older vLLM sends the error without a wrapper.
    return body if body.get("object") == "error" else None


def _status(reply: Reply, error: Mapping[str, Any]) -> int:
    """Return the status, for a 2xx the one inside the error; 0 if it has none."""
    if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
        return reply.status
    code = error.get("code")
    return code if isinstance(code, int) and HTTPStatus.BAD_REQUEST <= code <= 599 else 0  # noqa: PLR2004 - of HTTP


_LINE_END = re.compile("\r\n?|[\u2028\u2029\x85]")
#: Characters that no reader sees and a program may obey: controls, zero widths, direction marks,
#: fillers, private use, tags and variation selectors that can spell out a hidden text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u180b-\u180f\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ue000-\uf8ff\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
#: Joiners that stand between two non-ASCII signs are needed by emoji and some scripts; others go.
_IDLE_JOINER = re.compile(
    "(?<![^\x00-\x7f\\s\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]++(?![^\x00-\x7f\\s\u200c\u200d])"
    "|(?<=[\u200c\u200d])[\u200c\u200d]+"
)
#: Reasoning that servers without a parser for it leave in the answer.
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
#: Templates that open the reasoning in the prompt leave only its end in the answer.
_THOUGHT_END = re.compile(r"\A.*</think>", re.DOTALL)


def clean(text: str) -> str:
    """Return a model's text ready to send: no reasoning, nothing invisible, valid Unicode.

    Raise TransientError: ``model_empty``, ``model_overlong``, or ``model_truncated`` where only
    reasoning came.
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
    """Return ``text`` without invisible characters, its line ends as newlines. Idempotent."""
    return _IDLE_JOINER.sub("", _INVISIBLE.sub("", _LINE_END.sub("\n", text)))


def text_of(parts: Iterable[object]) -> str:
    """Return the text of an answer that came in parts; parts of other types have none."""
    texts = []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
    return "".join(texts)


def malformed(missing: str) -> TransientError:
    """Return the error for a reply without its documented form; ``missing`` names the part."""
    return TransientError("model_malformed", f"no {missing}")
