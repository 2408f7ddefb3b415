"""A model behind OpenAI's chat completions that answers, or fails in any of the known ways."""

import re

from tests.e2e.behaviours import Answer, Request
from tests.e2e.recording_server import RecordingServer

#: The word by which a test's customer is known in all that they write.
MARK = re.compile(r"\bQ\d{5}\b")


def completion(text: str | None, *, finish_reason: str = "stop") -> Answer:
    """Return the completion that says ``text``."""
    return Answer(
        body={
            "id": "chatcmpl-invented",
            "object": "chat.completion",
            "created": 1_768_478_400,
            "model": "invented",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish_reason,
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )


def model_error(status: int, code: str = "", **headers: str) -> Answer:
    """Return the refusal that a model's API sends."""
    error = {"message": "refused", "type": "invented", "param": None, "code": code or None}
    return Answer(status, {"error": error}, headers)


class FakeOpenAI(RecordingServer):
    """Answers "Answer to: <turn>", unless something else is scripted for the customer's mark.

    The key of a request is the first MARK in its user turn, "" if there is none.
    """

    def __init__(self) -> None:
        super().__init__(_mark_of, _echo)

    @property
    def base_url(self) -> str:
        """Return what goes into an account's ``base_url``."""
        return f"{self.url}/v1"

    def turns_of(self, mark: str) -> list[str]:
        """Return the user turns of a customer, one for each request."""
        return [turn_of(request) for request in self.requests_of(mark)]


def turn_of(request: Request) -> str:
    """Return the user turn that the model is asked to answer."""
    return str(request.body["messages"][-1]["content"])


def _mark_of(request: Request) -> str:
    found = MARK.search(turn_of(request))
    return found[0] if found else ""


def _echo(request: Request) -> Answer:
    return completion(f"Answer to: {turn_of(request)}")
