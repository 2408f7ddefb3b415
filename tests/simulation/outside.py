"""What is outside of a simulated account: its model and its provider, slow, wrong and silent."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import NoReturn

from batching.errors import (
    AmbiguousError,
    ChannelStoppedError,
    ModelStoppedError,
    PermanentError,
    SupersededError,
    TransientError,
    UnusableAnswerError,
)
from batching.model import (
    Answer,
    DeliveryStatus,
    Exchange,
    ForeignMessage,
    Handover,
    Outbound,
    Waiting,
)
from tests.history.events import Apologized, Asked, Doubted, Replied, Taken, words
from tests.simulation.hub import Crash, Task
from tests.simulation.ids import customer_of
from tests.simulation.service import Web
from tests.simulation.world import World

#: What the channel splits an answer at.
SEAM = "|"
#: What an account says whose model has no answer; no customer writes it.
APOLOGY = "We are sorry."
#: How often a call can be cut off.
CUTTABLE = 0.7
#: How often an answer promises a person.
HANDS_OVER = 0.1
#: What is said to customers who wait for one, and how long all of that takes.
WAITING = Waiting(
    remind_ms=60_000, apology_ms=90_000, expires_ms=600_000, apology="You are not forgotten."
)
#: The accounts that say nothing else to those who wait for a person.
SILENT = frozenset({"sister"})
#: Faults of an account or of the world: no batch may die of them.
LACKS = frozenset({"model_auth", "model_503", "cloud_190", "cloud_131016"})
USUAL_MS, SLOW_MS = (200, 8_000), (20_000, 90_000)
CALL_MS, SOON_MS, LATE_MS = (20, 2_000), (50, 5_000), (20_000, 300_000)


#: What a message replies to, by the sentence before it.
_QUOTED = re.compile(r"message: (\w+)\] ")


@dataclass
class SimulatedModel:
    """Answers with every word of the question, in one to three parts unlike any other.

    ``calls`` numbers the calls of all models.
    """

    world: World
    account_id: str
    calls: "count[int]"
    stopped_until_ms: int = 0

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:  # noqa: ARG002
        """Answer in time, late, or not at all."""
        world = self.world
        call, said = next(self.calls), words(turn)
        turns = [exchange.customer for exchange in history]
        past = tuple(word for each in turns for word in words(each))
        quoted = tuple(word for each in (*turns, turn) for word in _QUOTED.findall(each))
        asked = said, self.account_id, world.worker, past + quoted, past
        world.add(Asked(world.now_ms, call, *asked))
        parts: tuple[str, ...] = ()
        lacked, handover, owner = False, self._handover(call), world.task
        try:
            world.boundary()
            parts = self._think(call, said, owner)
        except TransientError as error:
            lacked = not isinstance(error, UnusableAnswerError)
            raise
        except SupersededError:
            lacked = True  # It answered nobody.
            raise
        finally:
            hands_over = bool(parts and handover)
            world.add(Replied(world.now_ms, call, parts, lacked, hands_over))
        world.boundary()
        return Answer(SEAM.join(parts), handover)

    def _handover(self, call: int) -> Handover | None:
        """Return whether this answer promises a person. Drawn apart, as what customers amend."""
        rng = Random(f"{self.world.setup.day_ms} hands over {call}")  # noqa: S311
        return Handover("asked", "a secret", "high") if rng.random() < HANDS_OVER else None

    def _think(self, call: int, said: tuple[str, ...], owner: Task | None) -> tuple[str, ...]:
        world = self.world
        if owner:
            # Some calls cannot be cut off: their answers are discarded. Drawn apart, as above.
            rng = Random(f"{world.setup.day_ms} cut {call}")  # noqa: S311
            owner.is_calling, owner.is_cut = rng.random() < CUTTABLE, False
        world.stay_in_call(SLOW_MS if world.chance("model_slow") else USUAL_MS)
        if owner:
            owner.is_calling = False
            if owner.is_cut:
                world.occurred["call cut off"] += 1
                raise SupersededError
        if world.chance("crash"):
            world.pause()
            raise Crash
        if world.now_ms < self.stopped_until_ms and not world.healed:
            raise ModelStoppedError("model_auth", free=True)
        if world.chance("model_transient"):
            asked_ms = world.rng.choice((None, 5_000, 120_000))
            raise TransientError("model_503", retry_after_ms=asked_ms)
        if world.chance("model_empty"):
            raise UnusableAnswerError("model_empty")
        if world.chance("model_permanent"):
            raise PermanentError("model_400")
        if world.chance("model_bug"):
            raise KeyError("choices")
        parts = world.rng.choice((1, 1, 1, 2, 3))
        return tuple(f"r{call}p{part} {' '.join(said)}" for part in range(parts))


@dataclass
class SimulatedChannel:
    """One account's way to the provider, which takes parts, and may send a status of each.

    ``others``: accounts that see what this one sends, and report about it as if it were theirs.
    """

    world: World
    web: Web
    account_id: str
    others: tuple[str, ...] = ()
    sent: int = 0
    stopped_until_ms: int = 0

    def split(self, text: str) -> list[str]:
        """Return the parts of an answer."""
        return text.split(SEAM)

    def send(self, outbound: Outbound) -> str:
        """Take the part and say so; or take it and not say so; or not take it."""
        world = self.world
        world.boundary()
        world.stay_in_call(CALL_MS)
        for other in self.others:
            if world.chance("status_of_another"):
                self._misreport(other, outbound.tag)
        if world.now_ms < self.stopped_until_ms and not world.healed:
            raise ChannelStoppedError("cloud_190")
        if world.chance("provider_transient"):
            raise TransientError("cloud_131016", retry_after_ms=world.rng.choice((None, 30_000)))
        if world.chance("provider_permanent"):
            raise PermanentError("cloud_131047")
        if world.chance("provider_doubt_untaken"):
            self._leave_in_doubt(outbound, AmbiguousError("cloud_timeout"))
        provider_id = self._take(outbound)
        if world.chance("provider_doubt_taken"):
            self._leave_in_doubt(outbound, AmbiguousError("cloud_timeout"))
        if world.chance("provider_bug"):
            self._leave_in_doubt(outbound, KeyError("messages"))
        world.boundary()
        return provider_id

    def _misreport(self, other: str, tag: str) -> None:
        """Have another account say of a part, with its tag or without the seal, what is not so."""
        rng, (unsealed, _, part) = self.world.rng, tag.rpartition(":")
        state, tag = rng.choice(("sent", "failed")), rng.choice((tag, f"{unsealed[:-24]}:{part}"))
        provider_id = f"{self.account_id}-out-{self.sent + 1}"
        status = DeliveryStatus(other, provider_id, state, tag)
        self.web.deliver(status, delay_ms=rng.randint(*SOON_MS))

    def _leave_in_doubt(self, outbound: Outbound, error: Exception) -> NoReturn:
        self.world.add(Doubted(self.world.now_ms, outbound.tag))
        raise error

    def _take(self, outbound: Outbound) -> str:
        world, account, tag = self.world, self.account_id, outbound.tag
        self.sent += 1
        provider_id = f"{account}-out-{self.sent}"
        self.web.tags[provider_id] = tag
        address = outbound.customer
        taken = (account, customer_of(address), tag, outbound.text, world.worker, address)
        if outbound.text in {APOLOGY, WAITING.apology}:
            world.occurred["apology" if outbound.text == APOLOGY else "told to wait"] += 1
            world.add(Apologized(world.now_ms, tag))
        else:
            world.add(Taken(world.now_ms, *taken))
        if world.chance("status_failed"):
            self._report(provider_id, "failed", tag)
        elif not world.chance("status_lost"):
            for state in ("sent", "delivered"):
                self._report(provider_id, state, tag)
        if world.chance("echo"):
            echo = ForeignMessage(account, outbound.customer, provider_id, "unknown")
            self.web.deliver(echo, delay_ms=world.rng.randint(*SOON_MS))
        return provider_id

    def _report(self, provider_id: str, state: str, tag: str) -> None:
        world = self.world
        carried = "" if world.chance("status_untagged") else tag
        code = "131026" if state == "failed" else ""
        status = DeliveryStatus(self.account_id, provider_id, state, carried, code)
        for _ in range(2 if world.chance("status_twice") else 1):
            span = LATE_MS if world.chance("status_late") else SOON_MS
            self.web.deliver(status, delay_ms=world.rng.randint(*span))
