"""A model that thinks for a moment, fails when told to, and keeps record of what it was asked."""

import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

from channels.text import split
from channels.whatsapp_cloud.send import TEXT_LENGTH_MAX
from tests.chaos.fake_server import Caller
from tests.chaos.record import Record
from tests.e2e.behaviours import Answer
from tests.e2e.fake_openai import completion, model_error
from tests.history.events import Asked, Replied

#: Longer than any caller waits.
FOR_EVER_S = 30.0
THINKS_S = (0.02, 0.15)
#: One call in so many takes much longer: somebody is always in the middle of one.
SLOW_EVERY = 8
SLOW_S = (0.4, 1.6)
#: One answer in so many needs two messages.
LONG_EVERY = 25
_SENTENCE = "Something kind of no further importance. "

#: Answers that are none, and refusals; the last will not pass.
GARBAGE = (
    Answer(200, b"<html>bad gateway</html>"),
    Answer(200, b'{"choices": [{"mess'),
    Answer(200, b"\xff\xfe\x00"),
    Answer(200, {"choices": []}),
    Answer(200, [1, 2, 3]),
    completion(None),
    completion("   \n"),
    completion("half an a", finish_reason="length"),
    completion("x" * 20_000),
    Answer(200, b" " * 1_200_000),
)
ERRORS = (
    model_error(500),
    model_error(502),
    model_error(503, **{"Retry-After": "1"}),
    model_error(429, "rate_limit_exceeded"),
    model_error(500),
    model_error(503),
    model_error(429, **{"Retry-After": "2"}),
    model_error(400, "invalid_request"),
)


class ChaosModel:
    """Answers with what it was told; ``mood`` is what it does instead, to most who ask.

    ``thinks_s``: the shortest and the longest that it usually takes, in seconds.
    """

    def __init__(
        self, record: Record, rng: random.Random, *, thinks_s: tuple[float, float] = THINKS_S
    ) -> None:
        self._record = record
        self._rng = rng
        self._thinks_s = thinks_s
        self._calls = itertools.count(1)
        self._lock = threading.Lock()
        self.mood: Callable[[Caller], Answer | None] | None = None

    def errors(self, _caller: Caller) -> Answer | None:
        """Refuse, by one of ERRORS."""
        return self._rng.choice(ERRORS)

    def garbage(self, _caller: Caller) -> Answer | None:
        """Answer with one of GARBAGE."""
        return self._rng.choice(GARBAGE)

    def hangs(self, caller: Caller) -> Answer | None:
        """Say nothing until the caller has gone, then break off."""
        caller.waits(FOR_EVER_S)
        return None

    def answer_to(self, body: Any, caller: Caller) -> Answer | None:
        """Return the answer to a request, None to break off."""
        with self._lock:
            call, mood = next(self._calls), self.mood
        *past, turn = [m for m in body["messages"] if m["role"] == "user"]
        words = tuple(turn["content"].split("\n"))
        told = tuple(word for message in past for word in message["content"].split("\n"))
        self._record.note(lambda at_ms: Asked(at_ms, call, words, "", caller.name, told))
        stays = caller.waits(pause_s(self._rng, self._thinks_s))
        if mood and self._rng.random() < 0.7:
            answer, said = mood(caller), ""
        else:
            said = _said(call, words)
            answer = completion(said)
        # Before it leaves: what the provider takes of it must come later.
        parts = tuple(split(said, TEXT_LENGTH_MAX)) if said and stays else ()
        self._record.note(lambda at_ms: Replied(at_ms, call, parts))
        return answer if stays else None


def pause_s(rng: random.Random, usual_s: tuple[float, float]) -> float:
    """Return how long a call takes, in seconds: as usual, or now and then much longer."""
    return rng.uniform(*(usual_s if rng.random() * SLOW_EVERY > 1 else SLOW_S))


def _said(call: int, words: tuple[str, ...]) -> str:
    """Return an answer that repeats the words in each part of it, and is never given twice."""
    short = f"r{call} {' '.join(words)}"
    if call % LONG_EVERY:
        return short
    return f"{short} {_SENTENCE * 90}\n\n{short} again"
