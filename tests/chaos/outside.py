"""A model and WhatsApp that think for a moment, fail in moods, and record what they saw."""

import itertools
import random
from collections.abc import Callable, Mapping

from channels.outbound import TEXT_LENGTH_MAX, split
from llm.client import HARMLESS
from tests.chaos.record import Record
from tests.history.events import Asked, Doubted, Replied, Taken
from tests.http_server import Answer, Reply, Request, reset
from tests.outside import (
    ModelApi,
    ProviderApi,
    completion,
    graph_error,
    model_error,
    sent_of,
    turn_of,
)

#: Longer than any caller waits.
FOR_EVER_S = 30.0
#: How long a model takes, and WhatsApp: the shortest and the longest, s.
THINKS_S, TAKES_S = (0.02, 0.15), (0.005, 0.05)
#: One call in so many takes much longer: somebody is always in the middle of one.
SLOW_EVERY, SLOW_S = 8, (0.4, 1.6)
#: How many of ten calls are answered by a mood, where there is one.
MOODY_OF_TEN = 7
#: One answer in so many needs two messages.
LONG_EVERY = 25
#: How many of ten texts that were taken have a status.
WITH_STATUS_OF_TEN = 8
_SENTENCE = "Something kind of no further importance. "

#: Answers of a model that can answer nobody.
UNREADABLE = (
    Reply(200, b"<html>bad gateway</html>"),
    Reply(200, b'{"choices": [{"mess'),
    Reply(200, b"\xff\xfe\x00"),
    Reply(200, {"choices": []}),
    Reply(200, [1, 2, 3]),
    Reply(200, b" " * 1_200_000),
)
#: Answers that are none, and refusals; the last will not pass.
GARBAGE = (
    *UNREADABLE,
    completion(None),
    completion("   \n"),
    completion("half an a", finish_reason="length"),
    completion("x" * 20_000),
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
REFUSALS = (
    *(graph_error(131056), graph_error(131056, status=429), graph_error(130429, status=429)),
    *(graph_error(131016, status=500), graph_error(131056), graph_error(131016, status=503)),
    *(graph_error(131026), graph_error(131047)),
)

Mood = Callable[[Request], Answer]


class ChaosModel(ModelApi):
    """Repeats in its answer what it was asked; ``mood`` is what it does to most calls instead.

    ``thinks_s``: the shortest and the longest that it usually takes, s.
    """

    def __init__(
        self, record: Record, rng: random.Random, *, thinks_s: tuple[float, float] = THINKS_S
    ) -> None:
        super().__init__()
        self._record = record
        self._rng = rng
        self._thinks_s = thinks_s
        self._calls = itertools.count(1)
        self.mood: Mood | None = None

    def errors(self, _request: Request) -> Answer:
        return self._rng.choice(ERRORS)

    def garbage(self, _request: Request) -> Answer:
        return self._rng.choice(GARBAGE)

    def hangs(self, request: Request) -> Answer:
        """Say nothing until the caller has gone, then break off."""
        request.wait(FOR_EVER_S)
        return reset

    def respond(self, request: Request) -> Answer:
        if turn_of(request) == HARMLESS:
            return self._probed(request)
        with self._lock:
            call, mood = next(self._calls), self.mood
        *past, _ = [m["content"] for m in request.json["messages"] if m["role"] == "user"]
        words = tuple(turn_of(request).split("\n"))
        history = tuple(word for turn in past for word in turn.split("\n"))
        who = request.caller
        self._record.note(lambda at_ms: Asked(at_ms, call, words, "", who, history))
        stays = request.wait(pause_s(self._rng, self._thinks_s))
        lacks = False
        if mood and is_moody(self._rng):
            answer, said = mood(request), ""
            lacks = mood in {self.errors, self.hangs} or answer in UNREADABLE
        else:
            said = _said(call, words)
            answer = completion(said)
        # Before it leaves: what the provider takes of it must come later.
        parts = tuple(split(said, TEXT_LENGTH_MAX)) if said and stays else ()
        self._record.note(lambda at_ms: Replied(at_ms, call, parts, lacks))
        return answer if stays else reset

    def _probed(self, request: Request) -> Answer:
        """Answer what no customer wrote: asked to learn whose fault a refusal is."""
        mood = self.mood
        return mood(request) if mood and is_moody(self._rng) else completion("Hello.")


class ChaosProvider(ProviderApi):
    """Takes every text and has ``report`` send its status; ``mood`` is what it does to most calls.

    ``accounts``: the account of each number of ours. ``report`` is given the number, the customer's
    number, the id that the text got, and our tag.
    """

    def __init__(
        self,
        record: Record,
        rng: random.Random,
        accounts: Mapping[str, str],
        report: Callable[[str, str, str, str], None],
    ) -> None:
        super().__init__()
        self._record = record
        self._rng = rng
        self._accounts = accounts
        self._report = report
        self.mood: Mood | None = None

    def refuses(self, _request: Request) -> Answer:
        """Refuse, by one of REFUSALS; nothing is taken."""
        return self._rng.choice(REFUSALS)

    def breaks(self, request: Request) -> Answer:
        """Take the text, or not, and leave the caller in doubt which."""
        tag = sent_of(request).tag
        self._record.note(lambda at_ms: Doubted(at_ms, tag))
        chance = self._rng.random()
        if chance > 0.2:
            self._take(request)
        if chance > 0.8:
            request.wait(FOR_EVER_S)
        return Reply(502) if 0.5 < chance < 0.65 else reset

    def respond(self, request: Request) -> Answer:
        if not self.key_of(request):
            return self.default(request)
        mood = self.mood
        if mood and is_moody(self._rng):
            return mood(request)
        # It has the text before it says so: a caller that dies in between leaves a doubt.
        answer = self._take(request)
        request.wait(pause_s(self._rng, TAKES_S))
        return answer

    def _take(self, request: Request) -> Reply:
        sent, who = sent_of(request), request.caller
        account = self._accounts[sent.phone_number_id]
        wamid = self.next_id()
        self._record.note(lambda at_ms: Taken(at_ms, account, sent.to, sent.tag, sent.text, who))
        if self._rng.random() * 10 < WITH_STATUS_OF_TEN:
            self._report(sent.phone_number_id, sent.to, wamid, sent.tag)
        return self.taken(request, wamid)


def is_moody(rng: random.Random) -> bool:
    """Return whether a call is answered by the mood that there is."""
    return rng.random() * 10 < MOODY_OF_TEN


def pause_s(rng: random.Random, usual_s: tuple[float, float]) -> float:
    """Return how long a call takes, s: as usual, or now and then much longer."""
    return rng.uniform(*(usual_s if rng.random() * SLOW_EVERY > 1 else SLOW_S))


def _said(call: int, words: tuple[str, ...]) -> str:
    """Return an answer that repeats the words in each part of it, and is never given twice."""
    short = f"r{call} {' '.join(words)}"
    if call % LONG_EVERY:
        return short
    return f"{short} {_SENTENCE * 90}\n\n{short} again"
