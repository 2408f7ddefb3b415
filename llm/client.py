"""A model behind an HTTP API: what all dialects share, its errors, and what of a text may be sent.

Asking again costs money and does no other harm, so every failure of the network is a
TransientError. A refused key, an exhausted quota, a model that is not there and a request of ours
that cannot be sent stop the model for the whole account; a question that is too long or filtered is
its batch's own fault. No error holds a URL, a key or a body.
"""

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

import httpx2
from pydantic import AfterValidator

from batching.errors import (
    AdminError,
    ModelStoppedError,
    PermanentError,
    SupersededError,
    TransientError,
    UnusableAnswerError,
)
from batching.model import Answer, Exchange, Handover
from config import EnvName, Table, Url, Whole, Word
from httpjson import ErrorMap, Failure, Reply, call_json, retry_after_ms
from llm.handover import without_note
from llm.markup import spoken
from llm.prompt import Prompt, dialogue, window

#: Limit for connecting to one address of the host, ms.
CONNECT_MS_MAX = 10_000
#: History sent again after the context overflowed: enough to know what "yes" refers to.
SCARCE_EXCHANGES_MAX = 2
SCARCE_CHARACTERS_MAX = 1_000
#: Asked where a refusal may be due to the customer's words: it shows whose fault it is.
HARMLESS = "Hello!"
#: Four WhatsApp messages; anything longer is a model that does not stop.
ANSWER_CHARACTERS_MAX = 16_000

_TEMPERATURE_MAX = 2


def _temperature(value: float) -> float:
    if not 0 <= value <= _TEMPERATURE_MAX:
        raise ValueError(f"must be 0..{_TEMPERATURE_MAX}")
    return value


class RemoteModel(Table):
    """The keys of ``[account.model]`` that every remote model has.

    Without ``api_key_env`` no key is sent. ``timeout_ms`` covers the whole answer, a second try
    included. ``temperature`` None leaves it to the model; reasoning models refuse one. ``tools``:
    the server takes tools; without them a model hands over to a person by a line of its answer.
    """

    model: Word
    base_url: Url
    api_key_env: EnvName | None = None
    timeout_ms: Annotated[int, Whole(1_000, 300_000)] = 60_000
    output_tokens_max: Annotated[int, Whole(16, 32_000)] = 800
    temperature: Annotated[float, AfterValidator(_temperature)] | None = None
    tools: bool = True


_ERRORS: ErrorMap = {
    Failure.REQUEST: (ModelStoppedError, "model_request"),
    Failure.UNREACHABLE: (partial(TransientError, free=True), "model_connection"),
    Failure.CONNECT_TIMEOUT: (partial(TransientError, free=True), "model_timeout"),
    Failure.TIMEOUT: (TransientError, "model_timeout"),
    Failure.BROKEN: (TransientError, "model_connection"),
    Failure.OVERSIZED: (TransientError, "model_oversized"),
    Failure.CUT: (SupersededError, "superseded"),
}


class HttpModel(ABC):
    """Implements the Model port. A subclass knows the requests and the answers of one dialect.

    ``secrets``: values by the name of their environment variable.
    """

    #: What follows ``base_url``.
    path: ClassVar[str]
    #: Called with "input" or "output" and how many tokens of it each call used, as it says.
    used: Callable[[str, int], None] = staticmethod(lambda _kind, _tokens: None)
    #: Called before each call.
    asks: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self,
        *,
        config: RemoteModel,
        secrets: Mapping[str, str],
        prompt: Prompt,
        http: httpx2.Client,
    ) -> None:
        self.config = config
        #: Whether the server takes tools, as far as is known.
        self.tools = config.tools
        self.prompt = prompt
        self._http = http
        self._url = config.base_url.rstrip("/") + self.path
        self._headers = self.headers(secrets[config.api_key_env] if config.api_key_env else "")

    @abstractmethod
    def headers(self, key: str) -> Mapping[str, str]:
        """Return the headers of every request; ``key`` is "" if the account has none."""

    @abstractmethod
    def request(self, messages: Sequence[Mapping[str, str]], now_ms: int) -> dict[str, Any]:
        """Return the body that asks for an answer to ``messages``, the last of them the turn."""

    @abstractmethod
    def read(self, body: object) -> Answer:
        """Return what a successful reply says; its ``body`` is None if it is not JSON.

        Raise UnusableAnswerError if the answer is not whole.
        """

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
        """Return the model's answer, whole. Raise TransientError or PermanentError.

        If the request is too long for the model, ask once more with less history. If it is refused
        for no reason that we know, ask something harmless: where that is refused too, the whole
        account is meant, and no customer can bring that about by what they write.
        """
        end_s = time.monotonic() + self.config.timeout_ms / 1000

        def ask(kept: Sequence[Exchange], turn: str) -> Reply:
            left_ms = int((end_s - time.monotonic()) * 1000)
            return self._post(dialogue(kept, turn), now_ms, max(1, left_ms))

        kept = window(history)
        reply = self._post(dialogue(kept, turn), now_ms, self.config.timeout_ms)
        if self.tools and lacks_tools(reply):
            self.tools = False
            reply = ask(kept, turn)
        error = error_of(reply)
        fewer = window(
            kept, exchanges_max=SCARCE_EXCHANGES_MAX, characters_max=SCARCE_CHARACTERS_MAX
        )
        if error is not None and error.code == "model_context" and fewer != kept:
            reply = ask(fewer, turn)
            error = error_of(reply)
        if isinstance(error, UnexplainedError):
            refused = error_of(ask((), HARMLESS))
            error = refused.stopped if isinstance(refused, UnexplainedError) else refused or error
        if error is not None:
            raise error
        return cleaned(self.read(reply.body))

    def _post(self, messages: Sequence[Mapping[str, str]], now_ms: int, timeout_ms: int) -> Reply:
        settings: dict[str, Any] = {"model": self.config.model}
        if self.config.temperature is not None:
            settings["temperature"] = self.config.temperature
        self.asks()
        reply = call_json(
            self._http,
            self._url,
            settings | self.request(messages, now_ms),
            headers=self._headers,
            timeout_ms=timeout_ms,
            connect_ms_max=CONNECT_MS_MAX,
            errors=_ERRORS,
        )
        for kind, tokens in tokens_of(reply.body):
            self.used(kind, tokens)
        return reply


#: What a call used, by the field of ``usage`` that says it. OpenAI counts cached input in its
#: ``prompt_tokens``; Anthropic counts what is read from and written to its cache beside the rest.
_USAGES: tuple[Mapping[str, str], ...] = (
    {"prompt_tokens": "input", "completion_tokens": "output"},
    {
        "input_tokens": "input",
        "cache_read_input_tokens": "input",
        "cache_creation_input_tokens": "input",
        "output_tokens": "output",
    },
)


def tokens_of(body: object) -> list[tuple[str, int]]:
    """Return what a reply says that it used, "input" or "output" and how much; [] if nothing."""
    usage = body.get("usage") if isinstance(body, dict) else None
    if not isinstance(usage, dict):
        return []
    # Some gateways say it in both ways.
    fields = next((it for it in _USAGES if it.keys() & usage.keys()), {})
    said = ((kind, usage.get(name)) for name, kind in fields.items())
    return [(kind, tokens) for kind, tokens in said if type(tokens) is int and tokens > 0]


class UnexplainedError(PermanentError):
    """Refused, and it is not known whether for the question or for who asks."""

    @property
    def stopped(self) -> ModelStoppedError:
        """Return the error where a harmless question is refused as well."""
        return ModelStoppedError(self.code, self.detail, free=True)


#: The codes with which models are known to fail; a status gives ``model_<status>``.
KNOWN_CODES = (
    *("model_auth", "model_connection", "model_context", "model_empty", "model_error"),
    *("model_error_text", "model_filtered", "model_malformed", "model_markup", "model_overlong"),
    *("model_oversized", "model_quota", "model_recited", "model_refused", "model_request"),
    *("model_timeout", "model_tool_call", "model_truncated", "model_unfinished"),
    *(f"model_{status}" for status in (400, 404, 408, 422, 429, 500, 502, 503, 504, 529)),
)
#: After these statuses asking again may help.
_RETRYABLE = frozenset({408, 409, 425, 429, *range(500, 1000)})
_ERROR_STATUSES = range(400, 600)
#: Of every question of the account: moved; key unknown; no money; no such model or path.
_STOPS: Mapping[int, str] = {
    **{status: f"model_{status}" for status in (*range(300, 400), 404, 405, 410)},
    401: "model_auth",
    402: "model_quota",
}
#: Refusals that may be due to the customer's words, or to who asks: 400, forbidden, unprocessable.
_ABOUT_WORDS = frozenset({400, 403, 422})
#: What servers say that do not take tools: Ollama, vLLM, OpenRouter, OpenAI, Gemini.
_NO_TOOLS = re.compile(
    "does not support (?:tools|function)|tool choice requires|support tool use"
    "|tools? (?:use |calling )?(?:is|are) not (?:supported|enabled)"
    "|(?:unknown|unrecognized|unsupported)[^.]{0,40}[^a-z]tools?[^a-z]",
    re.IGNORECASE,
)
#: What errors say in code, type or message; of Anthropic, DeepSeek, LiteLLM, OpenAI, OpenRouter:
#: docs.claude.com/en/api/errors, api-docs.deepseek.com/quick_start/error_codes,
#: docs.litellm.ai/docs/exception_mapping, platform.openai.com/docs/guides/error-codes,
#: openrouter.ai/docs/api/reference/errors-and-debugging.
_NO_MONEY = re.compile(
    # OpenAI sends a code with 429, Anthropic says it in the text of a 400, LiteLLM by a type.
    "insufficient_quota|billing_hard_limit_reached|billing_not_active|billing_error"
    "|credit balance is too low|insufficient balance|budget_exceeded|budget has been exceeded",
    re.IGNORECASE,
)
_OWN_FAULTS: Mapping[str, re.Pattern[str]] = {
    # OpenAI and Groq name a code; vLLM, DeepSeek, llama.cpp, Gemini and Anthropic only say it.
    "model_context": re.compile(
        "maximum context length|context[_ ]length|context size|prompt is too long|context limit"
        "|input token count|reduce the length of the messages|ContextWindowExceeded"
        "|string_above_max_length|request_too_large",
        re.IGNORECASE,
    ),
    # OpenAI, Azure, LiteLLM and Alibaba have codes; OpenRouter, Anthropic and DeepSeek say it.
    "model_filtered": re.compile(
        "content[_ ]filter|content[_ ]policy|ContentPolicyViolation|content management policy"
        "|ResponsibleAIPolicyViolation|moderation|was flagged|guardrail|invalid_prompt"
        "|data_inspection_failed|content exists risk|prohibited_content",
        re.IGNORECASE,
    ),
}


def lacks_tools(reply: Reply) -> bool:
    """Return whether a server refuses a question because it comes with a tool."""
    said = _said(_error_object(reply.body) or {})
    return not reply.is_success and _NO_TOOLS.search(f"{said} ") is not None


def error_of(reply: Reply) -> AdminError | None:
    """Return the error that a reply stands for, None for a success.

    Some gateways answer 200 with an error inside; the status is then the number in its ``code``.
    """
    error, status = _error_object(reply.body), reply.status
    if reply.is_success:
        if error is None:
            return None
        status = error.get("code", 0)
        if not isinstance(status, int) or status not in _ERROR_STATUSES:
            return TransientError("model_error", f"status {reply.status} with an error inside")
    said, detail = _said(error or {}), f"status {status}"
    without_money = _NO_MONEY.search(said)
    if status in _STOPS or (status == HTTPStatus.TOO_MANY_REQUESTS and without_money):
        return ModelStoppedError(_STOPS.get(status, "model_quota"), detail, free=True)
    if status in _RETRYABLE:
        # A success with an error inside may have been paid for.
        wait_ms, free = retry_after_ms(reply.headers), not reply.is_success
        return TransientError(f"model_{status}", retry_after_ms=wait_ms, free=free)
    if own := _own_fault(status, said):
        return PermanentError(own, detail)
    # Said with these, it may be the customer who said it: a harmless question shows.
    code = "model_auth" if status == HTTPStatus.FORBIDDEN else f"model_{status}"
    return UnexplainedError("model_quota" if without_money else code, detail)


def _own_fault(status: int, said: str) -> str | None:
    """Return the code of what is wrong with this question alone, None if that is not said."""
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return "model_context"
    found = (code for code, words in _OWN_FAULTS.items() if words.search(said))
    return next(found, None) if status in _ABOUT_WORDS else None


def _said(error: Mapping[str, Any]) -> str:
    """Return what an error says, a line each."""
    values = (error.get(key) for key in ("code", "type", "message"))
    return "\n".join(value for value in values if isinstance(value, str))


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


#: A call of the tool that a model writes as text.
_WRITTEN_CALL = re.compile(r"\bhand_over\b")
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


def cleaned(answer: Answer) -> Answer:
    """Return a model's answer ready to send, without what hands over to a person in its text.

    Where a person is to go on, words that cannot be sent are left out. Raise what ``clean`` raises.
    """
    text, noted = without_note(answer.text)
    handover = answer.handover or noted
    if handover is None and _WRITTEN_CALL.search(text):
        handover = Handover()
    try:
        return Answer(clean(text), handover)
    except UnusableAnswerError:
        if handover is None:
            raise
        return Answer("", handover)


def clean(text: str) -> str:
    """Return a model's text ready to send: no markup, nothing invisible, valid Unicode.

    Raise UnusableAnswerError: ``model_overlong``, and what ``llm.markup.spoken`` raises.
    """
    text = spoken(visible(text).encode("utf-8", "replace").decode())
    if len(text) > ANSWER_CHARACTERS_MAX:
        raise UnusableAnswerError(
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
