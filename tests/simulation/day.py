"""One simulated day: what customers write, and what people and fate do meanwhile."""

from dataclasses import dataclass, replace
from functools import partial
from random import Random

import redis

from batching.model import ForeignMessage, InboundMessage, Kind
from tests.simulation.ids import Ids
from tests.simulation.outside import SimulatedChannel, SimulatedModel
from tests.simulation.service import Web
from tests.simulation.watcher import Watcher
from tests.simulation.wire import Wire
from tests.simulation.world import World

#: Both accounts know the same numbers: their conversations must never meet.
ACCOUNTS = ("salon", "sister")
CUSTOMERS = ("79990000001", "79990000002", "79990000003")
#: How late a message is delivered: a batch may have messages of an hour ago and of now.
LATE_MS = (1_000, 30_000, 240_000, 3_600_000)
STEPS_MS = (-600_000, -30_000, -1_000, 1_000, 30_000, 600_000)


def people(customers: int) -> list[tuple[str, str]]:
    """Return who may write to whom."""
    return [(account, customer) for account in ACCOUNTS for customer in CUSTOMERS[:customers]]


@dataclass
class Day:
    """Plans the day's events on the heap."""

    world: World
    web: Web
    watcher: Watcher
    wire: Wire
    channels: dict[str, SimulatedChannel]
    models: dict[str, SimulatedModel]
    client: redis.Redis
    ids: Ids

    def plan(self) -> None:
        """Put everything that is to come at its time."""
        world = self.world
        self._write()
        self._change_ids()
        self._resume()
        for name, times in world.setup.deeds.items():
            for _ in range(times):
                world.after(world.rng.randint(0, world.setup.day_ms), getattr(self, name))

    def _someone(self) -> tuple[str, str]:
        return self.world.rng.choice(people(self.world.setup.customers))

    def _write(self) -> None:
        """Plan the customers' messages: bursts, some of them long."""
        world, written = self.world, 0
        while written < world.setup.messages:
            person, at_ms = self._someone(), world.rng.randint(0, world.setup.day_ms)
            burst = []
            for _ in range(min(world.rng.choice((1, 2, 3, 8)), world.setup.messages - written)):
                written += 1
                kind = Kind.REACTION if world.rng.random() < 0.04 else Kind.TEXT
                message = InboundMessage(*person, f"id-{written}", kind, f"m{written}")
                burst.append(self._quoting(message))
            self._post(burst, at_ms)

    def _post(self, burst: list[InboundMessage], at_ms: int) -> None:
        world = self.world
        for message in burst:
            self._amend(message, at_ms)
        if len(burst) > 1 and world.chance("webhook_shared"):
            together = [self.ids.under(message, world.now_ms + at_ms) for message in burst]
            self.web.deliver(*together, delay_ms=at_ms)
            burst = []
        for message in burst:
            at_ms += world.rng.choice((50, 500, 2_000, 8_000))
            dated, sent_ms = self._dated(message, at_ms), world.now_ms + at_ms
            named = self.ids.under(dated, sent_ms)
            self.web.deliver(named, delay_ms=at_ms)
            if world.chance("webhook_twice_at_once"):
                again = self.ids.again(named, dated, sent_ms)
                self.web.deliver(again, delay_ms=at_ms)
            if world.chance("webhook_again"):
                again = self.ids.again(named, dated, sent_ms)
                self.web.deliver(again, delay_ms=at_ms + world.rng.randint(0, 120_000))

    def _amend(self, message: InboundMessage, at_ms: int) -> None:
        """Have the customer edit the message, delete it, or both, at whatever stage it is then.

        Before it, too: deliveries are reordered. Drawn apart, as in ``_dated``.
        """
        rng = Random(f"{self.world.setup.day_ms} amends {message.text}")  # noqa: S311
        person, number = (message.account_id, message.customer), message.message_id[3:]
        changes = rng.choice(((), (), (), ("edit",), ("deletion",), ("edit", "deletion")))
        for change in changes if message.kind is Kind.TEXT else ():
            delay_ms = max(0, at_ms + rng.choice((-3_000, 500, 5_000, 12_000, 60_000)))
            self.world.occurred[f"message {change}"] += 1
            kind, words = (
                (Kind.EDITED, f"[The customer corrected an earlier message] e{number}")
                if change == "edit"
                else (Kind.DELETED, "[The customer deleted a message]")
            )
            change_id = f"{change}-{number}"
            amends = message.message_id
            event = InboundMessage(*person, change_id, kind, words, amends=amends)
            event = self.ids.under(event, self.world.now_ms + delay_ms)
            for _ in range(rng.choice((1, 1, 2))):
                self.web.deliver(event, delay_ms=delay_ms)

    def _quoting(self, message: InboundMessage) -> InboundMessage:
        """Return a message that may reply to an earlier one, of whomever."""
        number = int(message.message_id[3:])
        rng = Random(f"{self.world.setup.day_ms} quotes {number}")  # noqa: S311
        if number == 1 or rng.randint(0, 4):
            return message
        self.world.occurred["message quotes"] += 1
        return replace(message, quotes=f"id-{rng.randrange(1, number)}")

    def _dated(self, message: InboundMessage, at_ms: int) -> InboundMessage:
        """Return a message with its provider's time, which may be long ago or a lie.

        Drawn apart from the world's chances, so that the day takes the same course.
        """
        rng = Random(f"{self.world.setup.day_ms} {message.text}")  # noqa: S311 - a day, no secret
        sent_at_ms = self.world.now_ms + at_ms
        match rng.randint(0, 9):
            case 0:
                sent_at_ms -= rng.choice(LATE_MS)
                self.world.occurred["webhook late"] += 1
            case 1:
                sent_at_ms = rng.choice((0, 1, 1_072_915_200_000, 2 * sent_at_ms))
                self.world.occurred["clock lies"] += 1
        # What an adaptive window goes by.
        ending = rng.choice(("", "", "?", ",", " and", "...", "!"))
        return replace(message, sent_at_ms=sent_at_ms, text=f"{message.text}{ending}")

    def _change_ids(self) -> None:
        """Have the provider tell of customers' new ids, at once or late."""
        for person in people(self.world.setup.customers):
            for news in self.ids.news(*person):
                late_ms = self.ids.rng.choice((50, 2_000, 30_000))
                self.web.deliver(news, delay_ms=news.at_ms - self.world.now_ms + late_ms)

    def _resume(self) -> None:
        """Plan that a person has us go on where one is awaited; drawn apart, as in ``_dated``."""
        rng, day_ms = Random(f"{self.world.setup.day_ms} resumes"), self.world.setup.day_ms  # noqa: S311
        for _ in range(rng.choice((0, 0, 1, 3))):
            number = rng.random()
            self.world.after(rng.randint(0, day_ms), partial(self.watcher.resume, number))

    def take_over(self) -> None:
        name = f"phone-{self.world.now_ms}"
        event = ForeignMessage(*self._someone(), name, "person")
        self.web.deliver(self.ids.wrote_to(event, self.world.now_ms))
        self.world.occurred["taken over"] += 1

    def operate(self) -> None:
        letters = self.watcher.dead_letters()
        if not letters:
            return
        letter = self.world.rng.choice(letters)
        if self.world.rng.random() < 0.7:
            self.watcher.replay(letter)
        else:
            self.watcher.discard(letter)

    def erase(self) -> None:
        self.watcher.erase(*self._someone())

    def step_clock(self) -> None:
        self.world.offset_ms += self.world.rng.choice(STEPS_MS)
        self.world.occurred["clock step"] += 1
        for task in self.world.alive.values():
            self.world.pause(task)

    def cut_off(self) -> None:
        span_ms = self.world.rng.randint(1_000, 60_000)
        self.wire.away_until_ms = self.world.now_ms + span_ms
        self.world.occurred["outage"] += 1

    def stop_account(self) -> None:
        self._stop("channel_stopped", self.channels[self.world.rng.choice(ACCOUNTS)])

    def stop_model(self) -> None:
        """Have an account's model refuse every question for a while."""
        self._stop("model_stopped", self.models[self.world.rng.choice(ACCOUNTS)])

    def _stop(self, alert: str, what: SimulatedChannel | SimulatedModel) -> None:
        what.stopped_until_ms = self.world.now_ms + self.world.rng.randint(1_000, 120_000)
        self.world.occurred[f"reason for {alert}"] += 1

    def flush_scripts(self) -> None:
        """Have the server forget all scripts."""
        self.client.script_flush()
