"""Looks at the ledger after every step: the counters, the indexes, the expiries, the alerts.

It also carries out expiries: the server's go by its real clock, the simulation's by its own.
"""

from pathlib import Path
from typing import Any

import redis

from batching.audit import audit
from batching.identity import family
from batching.inspect import (
    SENT,
    DeadLetter,
    by_reason,
    counters,
    dead_letters,
    find_dead_letters,
    total,
)
from batching.keys import Shard
from batching.model import Reason
from batching.rights import erase
from batching.store import Store
from tests.history.checker import DROPS
from tests.history.events import (
    Alerted,
    Arrived,
    Awaited,
    Conflicted,
    Died,
    Discarded,
    Erased,
    HandedBack,
    Leaving,
    Replayed,
    TakenOver,
    words,
)
from tests.simulation.outside import LACKS, SILENT
from tests.simulation.world import World

#: An expiry beyond this is not met in one simulated day.
HORIZON_MS = 3 * 3_600_000
GLANCE = Path(__file__).with_name("glance.lua").read_text()


class BrokenError(Exception):
    """An invariant of the ledger does not hold."""


class Watcher:
    """Sees everything by a client of its own; nothing ever happens to that one."""

    def __init__(self, world: World, client: redis.Redis, ids: dict[tuple[str, str], str]) -> None:
        """``ids``: of all customers, with the customer: (account, id) → customer."""
        self._world = world
        self._client: Any = client
        setup = world.setup
        self.store = Store(
            client, privacy_key="k", shards=setup.shards, timing=setup.timing, clock=world.clock
        )
        self._people = {
            self.store.conversation_id(account, id_): (account, customer, id_)
            for (account, id_), customer in ids.items()
        }
        self._shards = self.store.keyring.shards
        self._content = tuple(
            make("")
            for shard in self._shards
            for make in (
                shard.batches,
                shard.open_messages,
                shard.flight_messages,
                shard.dead_letter,
                shard.handover,
            )
        )
        self._takeovers = {
            self.store.shard_of(c).takeover(c): person for c, person in self._people.items()
        }
        glance = f"local PLACES = {_lua(self._places())}\n{GLANCE}"
        self._glance = client.register_script(glance)
        self._alerts_seen = ["-"] * len(self._shards)
        self._died: set[str] = set()
        self._awaited: set[str] = set()
        self._leaving: set[str] = set()
        self._expiries: dict[str, int] = {}
        #: Messages that are open or in flight.
        self.busy = 0

    def _places(self) -> list[list[Any]]:
        return [
            [
                *(shard.stats, shard.due, shard.lease, shard.alerts, shard.handovers),
                [
                    [
                        *(c, shard.batches(c), shard.open_messages(c), shard.flight_messages(c)),
                        shard.handover(c),
                    ]
                    for c in self._people
                    if self.store.shard_of(c) == shard
                ],
            ]
            for shard in self._shards
        ]

    def look(self, commands: tuple[tuple[Any, ...], ...]) -> None:
        """Check what must hold after these commands, and note what came of them."""
        keys: list[str] = []
        for command in commands:
            if command[0] == "EVALSHA":
                keys += command[3 : 3 + command[2]]
        if not keys:
            return
        seen: list[Any] = [HORIZON_MS, *self._alerts_seen]
        waits, wrong, self.busy, alerts, awaited, leaving = self._glance(keys, seen)
        self._note_expiries(keys, waits)
        for number, entry, fields in alerts:
            self._alerts_seen[number - 1] = f"({entry.decode()}"
            named = dict(zip(fields[::2], fields[1::2], strict=True))
            alert = {name.decode(): value.decode() for name, value in named.items()}
            self._note_alert(self._shards[number - 1], alert)
        self._note_awaited({it.decode() for it in awaited})
        self._note_leaving({it.decode(): kept for it, *kept in leaving})
        if wrong:
            raise BrokenError("; ".join(line.decode() for line in wrong))

    def audit(self) -> None:
        """Check the same, and more, by the operator's own means. Raise BrokenError."""
        problems = [str(book) for book in counters(self.store) if not book.holds]
        problems += audit(self.store).problems
        problems += self._miscounted()
        if problems:
            raise BrokenError("; ".join(problems))

    def _miscounted(self) -> list[str]:
        """Return how the counters of what was sent contradict those of what became of it.

        A reply counts each message of its batch once, as itself or as a call saved, before the
        batch is answered; rarely it is erased, or vanishes, in between.
        """
        named = total(counters(self.store))
        replies, parts, saved = (sum(by_reason(named, kind).values()) for kind in SENT)
        told = replies + saved
        most = sum(named[name] for name in ("answered", "suppressed", "dead", "lost", "flight"))
        # A reply that did not arrive was one all the same, and is followed by another.
        most += named["replayed"]
        holds = replies <= parts and named["answered"] <= told <= most
        return [] if holds else [f"sent {parts} parts, {replies} replies to {told}: {dict(named)}"]

    def _note_expiries(self, keys: list[str], waits: list[int]) -> None:
        for key, wait_ms in zip(keys, waits, strict=True):
            if wait_ms >= 0 and key.startswith(self._content):
                raise BrokenError(f"content that expires: {key}")
            if 0 <= wait_ms <= HORIZON_MS:
                # The server has counted down a few real milliseconds already.
                self._expire_after(key, -(-wait_ms // 1000) * 1000)
            elif wait_ms > HORIZON_MS:
                # What was to expire soon is to stay after all.
                self._expiries.pop(key, None)

    def _expire_after(self, key: str, wait_ms: int) -> None:
        world, person = self._world, self._takeovers.get(key)
        at_ms = self._expiries[key] = world.now_ms + wait_ms
        if person:
            world.add(TakenOver(world.now_ms, *person))

        def expire() -> None:
            if self._expiries.get(key) == at_ms:
                del self._expiries[key]
                self._client.delete(key)
                if person:
                    world.add(HandedBack(world.now_ms, *person))

        world.after(wait_ms, expire)

    def _note_alert(self, shard: Shard, alert: dict[str, str]) -> None:
        world, kind = self._world, alert["kind"]
        world.occurred[f"alert {kind}"] += 1
        batch = f"{alert.get('conversation', '')}:{alert.get('batch', '')}"
        if kind == "alias_conflict":
            account, customer, _ = self._people[alert["detail"].split()[0]]
            world.add(Conflicted(world.now_ms, account, customer))
        if kind in DROPS and kind != "deadline" and alert["detail"].partition(";")[0] in LACKS:
            raise BrokenError(f"a batch died of what its account lacked: {alert}")
        if kind in DROPS:
            letters = find_dead_letters(self.store, alert["batch"])
            here = (x for x in letters if self.store.shard_of(x.conversation_id) == shard)
            letter = next(here, None)
            # Of an answer that is not kept any more a person is alerted all the same.
            if letter or kind != Reason.UNDELIVERED:
                self._note_death(batch, letter)
        world.add(Alerted(world.now_ms, kind, batch))

    def _note_awaited(self, awaited: set[str]) -> None:
        """Note in which conversations a person is awaited by now, and in which no more."""
        world = self._world
        for batch in sorted(self._awaited - awaited):
            world.add(Arrived(world.now_ms, *self._people[batch.partition(":")[0]]))
        for batch in sorted(awaited - self._awaited):
            account, customer, address = self._people[batch.partition(":")[0]]
            silent = account in SILENT
            world.add(Awaited(world.now_ms, account, customer, address, batch, silent))
            world.occurred["handed over"] += 1
        self._awaited = awaited

    def _note_leaving(self, leaving: dict[str, list[bytes]]) -> None:
        """Note of which batches an answer is about to leave from now on."""
        world = self._world
        for batch in sorted(leaving.keys() - self._leaving):
            account, customer, _ = self._people[batch.partition(":")[0]]
            first, limits, past = leaving[batch]
            # Both as the ledger says: whether it keeps to the bounds is for other tests.
            longest_ms, times = int(limits.split()[2]), int((past.split() or [b"", b"0"])[1])
            is_young = world.clock() < int(first) + longest_ms
            anew = is_young and times < world.setup.supersede.get(account, 0)
            world.add(Leaving(world.now_ms, account, customer, batch, anew))
            world.occurred["could be made anew"] += anew
        self._leaving |= leaving.keys()

    def discarded(self) -> int:
        """Return how many drafts were discarded."""
        return sum(by_reason(total(counters(self.store)), "drafts_discarded").values())

    def resume(self, number: float) -> None:
        """Have a person say that nobody is to come; which of all that wait, by ``number``."""
        waiting = sorted(self._awaited)
        if waiting:
            c = waiting[int(number * len(waiting))].partition(":")[0]
            for place in family(self.store, c):
                self.store.end_handover(place, "resumed")
            self._world.occurred["resumed"] += 1

    def _note_death(self, batch: str, letter: DeadLetter | None) -> None:
        if batch not in self._died:
            self._died.add(batch)
            texts = [message.text for message in letter.messages] if letter else []
            self._world.add(Died(self._world.now_ms, batch, words("\n".join(texts))))

    # A person's deeds.

    def dead_letters(self) -> list[DeadLetter]:
        """Return all dead letters, noting those without an alert."""
        letters = dead_letters(self.store)
        for letter in letters:
            self._note_death(":".join(_batch(letter)), letter)
        return letters

    def replay(self, letter: DeadLetter) -> None:
        """Have a dead letter answered after all."""
        setup = self._world.setup
        limits = setup.limits_of(self._world.rng.choice(setup.limits), letter.account_id)
        replayed = self.store.replay(*_batch(letter), letter.account_id, limits)
        # Nobody looks at once: the day must not end before they are answered.
        self.busy += max(0, replayed)
        self._note_deed(Replayed, "replayed", letter, done=replayed > 0)

    def discard(self, letter: DeadLetter) -> None:
        """Let a dead letter be."""
        discarded = self.store.discard(*_batch(letter), Reason.DISCARDED)
        self._note_deed(Discarded, "discarded", letter, done=discarded > 0)

    def _note_deed(
        self, event: type[Replayed | Discarded], name: str, letter: DeadLetter, *, done: bool
    ) -> None:
        if done:
            self._world.add(event(self._world.now_ms, ":".join(_batch(letter))))
            self._world.occurred[name] += 1
        self.audit()

    def erase(self, account: str, customer: str) -> None:
        """Have a customer forgotten."""
        self.dead_letters()
        self._world.add(Erased(self._world.now_ms, account, customer))
        own = [c for c, person in self._people.items() if person[:2] == (account, customer)]
        if sum(erase(self.store, c).messages for c in own):
            self._world.occurred["erased"] += 1
        self.audit()


def _batch(letter: DeadLetter) -> tuple[str, str]:
    return letter.conversation_id, letter.batch_id


def _lua(value: Any) -> str:
    """Return nested lists of names as Lua writes them."""
    if isinstance(value, str):
        return f'"{value}"'
    return "{" + ", ".join(map(_lua, value)) + "}"
