"""What both dialects refuse with, and what each refusal means: the table of a model's errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from batching.errors import AdminError, PermanentError, TransientError
from tests.http_server import Reply


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the API, and the error that it stands for."""

    status: int
    error: type[AdminError]
    code: str
    body: object = field(default_factory=lambda: {"error": {"message": "refused", "code": None}})
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after_ms: int | None = None

    @property
    def reply(self) -> Reply:
        """Return it as the server sends it."""
        return Reply(self.status, self.body, self.headers)

    @property
    def expected(self) -> tuple[type[AdminError], str, int | None]:
        """Return what ``outcome`` says of the right error."""
        return self.error, self.code, self.retry_after_ms


def outcome(error: AdminError) -> tuple[type[AdminError], str, int | None]:
    """Return what the flow acts upon."""
    return type(error), error.code, getattr(error, "retry_after_ms", None)


def named(code: str | None = None, kind: str = "invented", message: str = "refused") -> object:
    """Return a body in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def waiting(headers: Mapping[str, str], wait_ms: int | None) -> Refusal:
    """Return a refusal for now, with what it says about later."""
    return Refusal(429, TransientError, "model_429", headers=headers, retry_after_ms=wait_ms)


REFUSALS: Mapping[str, Refusal] = {
    "redirect": Refusal(307, PermanentError, "model_307", headers={"Location": "/v2"}),
    "bad request": Refusal(400, PermanentError, "model_400"),
    "key unknown": Refusal(401, PermanentError, "model_auth"),
    "no money (DeepSeek, Anthropic)": Refusal(402, PermanentError, "model_quota"),
    "key without the right": Refusal(403, PermanentError, "model_auth"),
    "no such model": Refusal(404, PermanentError, "model_404"),
    "time-out at the other side": Refusal(408, TransientError, "model_408"),
    "conflict": Refusal(409, TransientError, "model_409"),
    "unprocessable": Refusal(422, PermanentError, "model_422"),
    "rate limit": Refusal(429, TransientError, "model_429", named("rate_limit_exceeded")),
    "no money (OpenAI)": Refusal(429, PermanentError, "model_quota", named("insufficient_quota")),
    "no money by type": Refusal(
        429, PermanentError, "model_quota", named(kind="insufficient_quota")
    ),
    "no money in words (Anthropic)": Refusal(
        400,
        PermanentError,
        "model_quota",
        named(message="Your credit balance is too low to access the API."),
    ),
    "rate limit (Gemini's array)": Refusal(
        429, TransientError, "model_429", [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]
    ),
    "no money in an array": Refusal(
        429, PermanentError, "model_quota", [named("insufficient_quota")]
    ),
    "server error": Refusal(500, TransientError, "model_500"),
    "bad gateway without JSON": Refusal(502, TransientError, "model_502", b"<html>bad</html>"),
    "unavailable": Refusal(503, TransientError, "model_503", b""),
    "gateway time-out": Refusal(504, TransientError, "model_504"),
    "overloaded (Anthropic)": Refusal(529, TransientError, "model_529"),
    "error is a word": Refusal(400, PermanentError, "model_400", {"error": "no"}),
    "error is a number": Refusal(500, TransientError, "model_500", {"error": 5}),
    "error of odd types": Refusal(
        429, TransientError, "model_429", {"error": {"code": [], "type": {}, "message": 3}}
    ),
    "200 with a rate limit inside": Refusal(
        200, TransientError, "model_429", {"error": {"code": 429, "message": "slow down"}}
    ),
    "200 with a refused key inside": Refusal(
        200, PermanentError, "model_auth", {"error": {"code": 401, "message": "no"}}
    ),
    "200 with an error inside": Refusal(
        200, TransientError, "model_error", {"error": {"code": "oops", "message": "failed"}}
    ),
    "wait in seconds": waiting({"Retry-After": "7"}, 7_000),
    "wait in milliseconds": waiting({"retry-after-ms": "1250", "Retry-After": "9"}, 1_250),
    "wait of a word": waiting({"Retry-After": "soon", "retry-after-ms": "soon"}, None),
    "wait of an unavailable server": Refusal(
        503, TransientError, "model_503", headers={"Retry-After": "3"}, retry_after_ms=3_000
    ),
}

#: Ways to say that a request was too long.
OVERFLOWS: Mapping[str, tuple[int, object]] = {
    "OpenAI": (400, named("context_length_exceeded")),
    "vLLM": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens.",
            "code": 400,
        },
    ),
    "DeepSeek": (400, named("invalid_request_error", message="maximum context length is 65536")),
    "llama.cpp": (400, named(kind="exceed_context_size_error", message="exceeds the context size")),
    "Gemini": (
        400,
        [{"error": {"code": 400, "message": "The input token count exceeds the maximum"}}],
    ),
    "Anthropic": (
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"},
        },
    ),
    "too many bytes": (413, b"<html>too large</html>"),
    "200 with it inside": (200, {"error": {"code": 400, "message": "maximum context length"}}),
}
