"""What models refuse with, and what each refusal means: the error's code by the reply."""

from collections.abc import Mapping

from tests.http_server import Reply


def refusal(
    status: int,
    code: object = None,
    kind: str = "invented",
    message: str = "refused",
    **headers: str,
) -> Reply:
    """Return one in OpenAI's form."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    return Reply(status, {"error": error}, headers)


#: Asking again does not help.
PERMANENT: Mapping[str, tuple[Reply, str]] = {
    "redirect": (refusal(307, Location="/v2"), "model_307"),
    "bad request": (refusal(400), "model_400"),
    "key unknown": (refusal(401), "model_auth"),
    "no money (DeepSeek, Anthropic)": (refusal(402), "model_quota"),
    "key without the right": (refusal(403), "model_auth"),
    "no such model": (refusal(404), "model_404"),
    "unprocessable": (refusal(422), "model_422"),
    "no money (OpenAI)": (refusal(429, "insufficient_quota"), "model_quota"),
    "no money by type": (refusal(429, kind="insufficient_quota"), "model_quota"),
    "no money in words (Anthropic)": (
        refusal(400, message="Your credit balance is too low to access the API."),
        "model_quota",
    ),
    "no money in an array": (
        Reply(429, [{"error": {"code": "insufficient_quota"}}]),
        "model_quota",
    ),
    "error is a word": (Reply(400, {"error": "no"}), "model_400"),
    "200 with a refused key inside": (refusal(200, 401), "model_auth"),
}

#: It may.
TRANSIENT: Mapping[str, tuple[Reply, str]] = {
    "time-out at the other side": (refusal(408), "model_408"),
    "conflict": (refusal(409), "model_409"),
    "rate limit": (refusal(429, "rate_limit_exceeded"), "model_429"),
    "rate limit (Gemini's array)": (
        Reply(429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]),
        "model_429",
    ),
    "server error": (refusal(500), "model_500"),
    "bad gateway without JSON": (Reply(502, b"<html>bad</html>"), "model_502"),
    "unavailable": (Reply(503, b""), "model_503"),
    "gateway time-out": (refusal(504), "model_504"),
    "overloaded (Anthropic)": (refusal(529), "model_529"),
    "error is a number": (Reply(500, {"error": 5}), "model_500"),
    "error of odd types": (
        Reply(429, {"error": {"code": [], "type": {}, "message": 3}}),
        "model_429",
    ),
    "200 with a rate limit inside": (refusal(200, 429), "model_429"),
    "200 with an error inside": (refusal(200, "oops"), "model_error"),
}

#: Ways to say that a request was too long.
OVERFLOWS: Mapping[str, Reply] = {
    "OpenAI": refusal(400, "context_length_exceeded"),
    "vLLM": Reply(
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 4096 tokens.",
            "code": 400,
        },
    ),
    "DeepSeek": refusal(400, "invalid_request_error", message="maximum context length is 65536"),
    "llama.cpp": refusal(400, kind="exceed_context_size_error", message="exceeds the context size"),
    "Gemini": Reply(
        400, [{"error": {"code": 400, "message": "The input token count exceeds the maximum"}}]
    ),
    "Anthropic": refusal(400, kind="invalid_request_error", message="prompt is too long: 9 > 8"),
    "too many bytes": Reply(413, b"<html>too large</html>"),
    "200 with it inside": refusal(200, 400, message="maximum context length"),
}
