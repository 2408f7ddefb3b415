"""The model of a simulated account: slow, wrong, silent, and heard by the history."""

from collections.abc import Sequence

from batching.errors import PermanentError, TransientError
from batching.model import Exchange
from tests.history.events import Asked, Replied
from tests.simulation.hub import Crash
from tests.simulation.world import World

#: What the channel splits an answer at.
SEAM = "|"
USUAL_MS, SLOW_MS = (200, 8_000), (20_000, 90_000)


class SimulatedModel:
    """Answers with every word of the question, in one to three parts unlike any other."""

    def __init__(self, world: World, account_id: str, calls: list[int]) -> None:
        self._world = world
        self._account_id = account_id
        #: Shared by all models, for the calls to be numbered.
        self._calls = calls

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:  # noqa: ARG002
        """Answer in time, late, or not at all."""
        world = self._world
        world.boundary()
        self._calls[0] += 1
        call, words = self._calls[0], tuple(turn.split("\n"))
        past = tuple(word for exchange in history for word in exchange.customer.split("\n"))
        world.add(Asked(world.now_ms, call, words, self._account_id, world.worker, past))
        parts: tuple[str, ...] = ()
        try:
            parts = self._think(call, words)
        finally:
            world.add(Replied(world.now_ms, call, parts))
        world.boundary()
        return SEAM.join(parts)

    def _think(self, call: int, words: tuple[str, ...]) -> tuple[str, ...]:
        world = self._world
        span = SLOW_MS if world.chance("model_slow") else USUAL_MS
        span_ms = world.rng.randint(*span)
        world.ambush(span_ms)
        world.hub.sleep(span_ms)
        if world.chance("crash"):
            world.pause()
            raise Crash
        if world.chance("model_transient"):
            asked_ms = world.rng.choice((None, 5_000, 120_000))
            raise TransientError("model_503", retry_after_ms=asked_ms)
        if world.chance("model_empty"):
            raise TransientError("model_empty")
        if world.chance("model_permanent"):
            raise PermanentError("model_400")
        if world.chance("model_bug"):
            raise KeyError("choices")
        count = world.rng.choice((1, 1, 1, 2, 3))
        return tuple(f"r{call}p{part} {' '.join(words)}" for part in range(count))
