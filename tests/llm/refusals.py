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


#: True of every question of the account, whatever the customer wrote.
STOPS: Mapping[str, tuple[Reply, str]] = {
    "redirect": (refusal(307, Location="/v2"), "model_307"),
    "key unknown": (refusal(401), "model_auth"),
    "key unknown, a page": (Reply(401, b"<html>Sign in</html>"), "model_auth"),
    "key unknown (llama.cpp)": (refusal(401, 401, "authentication_error"), "model_auth"),
    "no money (DeepSeek, Anthropic)": (refusal(402), "model_quota"),
    "no money (OpenRouter)": (refusal(402, 402), "model_quota"),
    "no such model": (refusal(404), "model_404"),
    "no such model (vLLM)": (
        Reply(404, {"object": "error", "message": "The model does not exist.", "code": 404}),
        "model_404",
    ),
    "no such page": (Reply(404, b"<html>nginx</html>"), "model_404"),
    "wrong path": (Reply(405, b""), "model_405"),
    "model that is retired": (refusal(410), "model_410"),
    "no money (OpenAI)": (refusal(429, "insufficient_quota"), "model_quota"),
    "no money by type": (refusal(429, kind="insufficient_quota"), "model_quota"),
    "no money in an array": (
        Reply(429, [{"error": {"code": "insufficient_quota"}}]),
        "model_quota",
    ),
    "no money (LiteLLM)": (refusal(429, kind="budget_exceeded"), "model_quota"),
    "200 with a refused key inside": (refusal(200, 401), "model_auth"),
}

#: Of the account or of the words: a harmless question shows.
UNEXPLAINED: Mapping[str, tuple[Reply, str]] = {
    "bad request": (refusal(400), "model_400"),
    "bad request of a gateway": (refusal(400, message="Upstream request failed"), "model_400"),
    "bad request (OpenRouter)": (refusal(400, 400, message="Provider returned error"), "model_400"),
    "no such model (LiteLLM)": (refusal(400, message="Invalid model name passed"), "model_400"),
    "no such model (Anthropic's form)": (refusal(400, kind="not_found_error"), "model_400"),
    "key without the right": (refusal(403), "model_auth"),
    "a page of a firewall": (Reply(403, b"<html>Attention required</html>"), "model_auth"),
    "country": (refusal(403, "unsupported_country_region_territory"), "model_auth"),
    "unprocessable": (refusal(422), "model_422"),
    "form": (Reply(422, {"detail": [{"loc": ["body"], "msg": "field required"}]}), "model_422"),
    "not acceptable": (refusal(406), "model_406"),
    "error is a word": (Reply(400, {"error": "no"}), "model_400"),
    "no money in words (Anthropic)": (
        refusal(400, message="Your credit balance is too low to access the API."),
        "model_quota",
    ),
    "what the customer said comes back": (
        refusal(422, message="not allowed: 'insufficient_quota'"),
        "model_quota",
    ),
}

#: Of this question alone.
FILTERED: Mapping[str, Reply] = {
    "OpenAI": refusal(400, "content_policy_violation"),
    "OpenAI, a reasoning model": refusal(400, "invalid_prompt"),
    "Azure": refusal(400, "content_filter", message="The response was filtered"),
    "LiteLLM": refusal(400, message="litellm.ContentPolicyViolationError: refused"),
    "OpenRouter": refusal(403, 403, message="requires moderation and your input was flagged"),
    "Anthropic": refusal(400, message="Output blocked by content filtering policy"),
    "DeepSeek": refusal(400, message="Content Exists Risk"),
    "Alibaba": refusal(400, "data_inspection_failed"),
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
    "LiteLLM": refusal(400, message="litellm.ContextWindowExceededError: too long"),
    "Anthropic's bytes": refusal(413, kind="request_too_large"),
    "too many bytes": Reply(413, b"<html>too large</html>"),
    "200 with it inside": refusal(200, 400, message="maximum context length"),
}
