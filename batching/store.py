"""The message store: each operation is one atomic Lua script, called by one typed method here.

It decides nothing; ``flow.py`` does. Every method is safe to repeat, and raises
LedgerUnavailableError where Redis did not take it. A step with an outdated token changes nothing.
"""

import hashlib
import hmac
import json
import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import resources
from itertools import count, islice
from typing import Any, Final, Literal, TypeVar, cast
from uuid import uuid4

import redis
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from batching import keys
from batching.errors import ConfigurationError, LedgerUnavailableError
from batching.figures import Figures
from batching.keys import Keyring, Shard
from batching.model import (
    ENDS,
    Budget,
    Change,
    Circuit,
    Collected,
    DeliveryStatus,
    Dependency,
    Exchange,
    Expiry,
    ForeignMessage,
    Handover,
    InboundMessage,
    Kept,
    Limits,
    Line,
    LostChannel,
    Overdue,
    Peek,
    Reaped,
    Receipt,
    Run,
    SpendRefusal,
    Stage,
    Status,
    Tag,
    Timing,
    Waiting,
    WakeUp,
    Watch,
    decode_all,
    encode,
    in_order,
)

log = logging.getLogger(__name__)

#: The form of what is stored. A process that knows another form refuses to start.
SCHEMA = 1
#: How long a disk may take, ms; a webhook that waits longer is refused, and delivered again.
SYNC_MS_MAX = 1_000
#: How many cooldowns one kind of alert may have in an account: what comes from outside has bounds.
COOLDOWNS_MAX = 1_024
#: How many dead letters are looked through at a time for those of a conversation, about.
LETTERS_PAGE = 1_000
#: How old a shard's heartbeat may be before a flush renews it, ms.
HEARTBEAT_RENEWED_MS = 1_000

#: How renew, checkpoint and mark_sending answer where the customer wrote again: put the batch back.
SUPERSEDED = 3
#: How mark_sending answers: go; the part is not this run's to send.
GO, STALE = 1, 0
#: How fail answers: done; refused because the attempts are spent; STALE.
DONE, SPENT = 1, 2
#: How checkpoint answers beside DONE and STALE: kept, and a person is awaited from now on.
HANDED_OVER = 2
#: How replay and discard answer instead of a number of messages.
GONE, FULL = -1, -2
#: How try_circuit answers instead of a wait: the circuit is closed; it is open, go as its probe.
CLOSED, PROBE = 0, -1
#: How long a probe that ends without a word keeps others from probing, ms.
PROBE_MS = 300_000
#: How long batches wait while another probes, ms.
PROBED_MS = 5_000
#: How long after a probe a status may still say that its part was refused, ms.
LATE_MS = 30_000
#: A circuit that opens so soon after it closed goes on with the outage before, ms.
RELAPSE_MS = 600_000
#: How foreign answers: we sent it ourselves; a takeover begins by it, or goes on; the app may have
#: sent it.
OURS, TAKEOVER_BEGINS, TAKEOVER_GOES_ON, GREETING = 0, 2, 3, 4
#: What becomes of a run without success: try again, wait for the account, wait for the provider
#: to be well again, the part may be out, or the answer is unusable.
Outcome = Literal["retry", "defer", "outage", "ambiguous", "unusable"]

#: What to do where scripts are missing and the user of REDIS_URL may not load them.
SCRIPTS_MISSING = (
    "the scripts of this release are not in Redis, and the user of REDIS_URL may not load them: "
    "run `manage.py check` as the operator's user, or start a scheduler of this release"
)

#: Who holds a batch by its token: a run, or what reap found.
Held = Run | Reaped
#: How long a message may take to come again under a customer's other id, ms.
_TWIN_MS = 86_400_000
#: White space as scripts know it.
_SPACE = re.compile(r"[ \t\n\r\f\v]+")
#: In place of an account: all of them.
_ALL = "*"

Arg = str | int | bytes
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Script:
    """The whole text of a script, and the digest by which a server knows it."""

    text: str
    digest: str


def _load() -> dict[str, Script]:
    texts = {
        file.name.removesuffix(".lua"): file.read_text(encoding="utf-8")
        for file in resources.files("batching").joinpath("lua").iterdir()
        if file.name.endswith(".lua")
    }
    prelude = texts.pop("_prelude")
    # Verbs that move or end what is accepted run in a full Redis too: else it could never drain.
    # Those that bring something in are refused there, and the provider keeps it.
    flags = dict.fromkeys(texts, "#!lua flags=allow-oom\n")
    flags |= dict.fromkeys(("append", "link", "replay"), "")
    flags |= dict.fromkeys(("audit", "recall", "watch"), "#!lua flags=no-writes\n")
    scripts = {verb: f"{flags[verb]}{prelude}{text}" for verb, text in texts.items()}
    return {verb: Script(text, _sha1(text)) for verb, text in scripts.items()}


def _sha1(text: str) -> str:
    return hashlib.sha1(_bytes(text), usedforsecurity=False).hexdigest()


def _bytes(text: str) -> bytes:
    """Return what ``_text`` made text of."""
    return text.encode(errors="surrogateescape")


#: Every script by its verb.
SCRIPTS: Final = _load()


@dataclass(frozen=True, slots=True)
class _Call:
    """One script with its keys and arguments, and what makes a value of its answer."""

    verb: str
    keys: tuple[str, ...]
    args: tuple[Arg, ...]
    decode: Callable[[Any], Any]

    @property
    def command(self) -> tuple[Arg, ...]:
        return ("EVALSHA", SCRIPTS[self.verb].digest, len(self.keys), *self.keys, *self.args)


def _run_all(client: redis.Redis, calls: Sequence[_Call], *, durable: bool) -> list[Any]:
    """Run scripts in order, in one round trip; return their values, or a LedgerUnavailableError.

    Each is atomic by itself, the sequence is not. ``durable``: return only when the server has
    their writes on its disk. Raise LedgerUnavailableError if Redis did not answer in time.
    """
    try:
        answers = _evaluate(client, calls, durable=durable)
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            _load_scripts(client, list(SCRIPTS.values()))
            again = _evaluate(client, [calls[n] for n in unknown], durable=durable)
            for n, answer in zip(unknown, again, strict=True):
                answers[n] = answer
    except redis.RedisError as error:
        raise LedgerUnavailableError("ledger_away", type(error).__name__) from error
    return [
        _refusal(answer) if isinstance(answer, Exception) else call.decode(_text(answer))
        for call, answer in zip(calls, answers, strict=True)
    ]


def _refusal(error: Exception) -> LedgerUnavailableError:
    """Return what a script's error is to the caller, with the error as its cause."""
    refused = LedgerUnavailableError("ledger_refused", type(error).__name__)
    refused.__cause__ = error
    return refused


def _load_scripts(client: redis.Redis, scripts: Sequence[Script]) -> None:
    """Have the server know scripts. Raise LedgerUnavailableError if our user may not load them."""
    pipeline = client.pipeline(transaction=False)
    for script in scripts:
        pipeline.script_load(script.text)
    try:
        pipeline.execute()
    except NoPermissionError as error:
        raise LedgerUnavailableError("scripts_missing", SCRIPTS_MISSING) from error


def _text(answer: Any) -> Any:  # noqa: ANN401 - redis-py types a reply as anything
    """Return the answer of a script with text in place of bytes.

    What somebody has damaged so that it is no text any more comes as it is, for ``_bytes``; whoever
    reads it finds that it cannot be read.
    """
    if isinstance(answer, list):
        return [_text(each) for each in answer]
    return answer.decode(errors="surrogateescape") if isinstance(answer, bytes) else answer


def _evaluate(client: redis.Redis, calls: Sequence[_Call], *, durable: bool) -> list[Any]:
    """Return the answer to each call, or the error that it met."""
    if len(calls) == 1 and not durable:
        # A pipeline of one costs a quarter of a webhook's time.
        execute: Any = client.execute_command
        try:
            return [execute(*calls[0].command)]
        except ResponseError as error:
            return [error]
    pipeline: Any = client.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command(*call.command)
    if not durable:
        return list(pipeline.execute(raise_on_error=False))
    # On the connection of the writes, whose offset it waits for; replicas are not waited for.
    pipeline.execute_command("WAITAOF", 1, 0, SYNC_MS_MAX)
    *answers, on_disk = pipeline.execute(raise_on_error=False)
    if isinstance(on_disk, Exception) or on_disk[0] < 1:
        raise LedgerUnavailableError("ledger_not_synced")
    return list(answers)


class Scripts:
    """One method a script. ``Store`` runs it at once, ``Pipeline`` queues it.

    ``clock`` is for tests: without it, time is the server's. ``figures``: what this process counts
    and times.
    """

    def __init__(
        self, keyring: Keyring, timing: Timing, clock: Callable[[], int], figures: Figures
    ) -> None:
        self.keyring = keyring
        self.timing = timing
        self.clock = clock
        self.figures = figures

    def _run(
        self,
        verb: str,
        keys: Sequence[str],
        args: Sequence[Arg],
        decode: Callable[[Any], T],
        *,
        durable: bool = False,
    ) -> T:
        call = _Call(verb, tuple(keys), (self.clock(), *args), decode)
        return cast("T", self._take(call, durable=durable))

    def _take(self, call: _Call, *, durable: bool) -> object:
        raise NotImplementedError

    def conversation_id(self, account_id: str, customer: str) -> str:
        """Return the id of an account's conversation with a customer."""
        return self.keyring.conversation_id(account_id, customer)

    def shard_of(self, conversation_id: str) -> Shard:
        """Return the keys of the shard that holds a conversation."""
        return self.keyring.shard_of(conversation_id)

    # What a webhook brings.

    def append(
        self,
        conversation_id: str,
        message: InboundMessage,
        limits: Limits,
        *,
        suppressed: str = "",
        pause: str = "",
    ) -> Receipt:
        """Accept a message into the open batch; ``suppressed``: why it asks for no answer.

        ``pause``: how long to wait for more, see ``window.pause_after``; "" as the limits say.
        """
        s, c, timing = self.shard_of(conversation_id), conversation_id, self.timing
        names = (
            s.batches(c), s.open_messages(c), s.seen(c), s.due, s.stats, s.heartbeat, s.overdue,
            s.limits, s.links(c), s.alias(message.account_id, self._twin(message)),
        )  # fmt: skip
        digest = self.keyring.digest(message.account_id, message.message_id)
        what = (digest, encode(message), suppressed, *limits.encode())
        caps = (timing.waiting_max, timing.seen_ms, timing.seen_max)
        amends = message.amends and self.keyring.digest(message.account_id, message.amends)
        if amends and message.is_deletion:
            amends = f"-{amends}"
        # Whom it came from, too: forgotten meanwhile, they belong to their own conversation again.
        is_own = c == self.conversation_id(message.account_id, message.customer)
        ids = filter(None, ("" if is_own else message.customer, *message.aliases, message.shared))
        digests = " ".join(self.keyring.digest(message.account_id, each) for each in ids)
        twin_ms = _TWIN_MS if message.has_twin and not message.secondary else 0
        sent = (message.sent_at_ms, amends, digests, twin_ms)
        args = (c, message.account_id, *what, *caps, *sent, pause)
        return self._run(
            "append", names, args, lambda answer: Receipt(Status(answer[0]), c, *answer[1:])
        )

    def _twin(self, message: InboundMessage) -> str:
        """Return what stands in place of an id where it is noted by which id a message came."""
        return f"twin:{self.keyring.digest(message.account_id, message.message_id)}"

    def overflow(self, conversation_id: str, account_id: str) -> bool:
        """Count a message that ``append`` found no room for; False if that may soon change."""
        s, c, timing = self.shard_of(conversation_id), conversation_id, self.timing
        names = (s.batches(c), s.stats, s.alerts, s.cooldown(account_id, f"overflow:{c}"))
        args = (c, account_id, timing.waiting_max, timing.overflow_ms)
        return self._run("overflow", names, args, bool)

    def link(
        self, conversation_id: str, account_id: str, alias: str, *, again: bool = False
    ) -> bool:
        """Remember a second id of a customer; False if it belongs to another conversation.

        ``again``: it is this one's from now on, wherever it belonged.
        """
        digest = self.keyring.digest(account_id, alias)
        shard = self.shard_of(digest)
        args = (conversation_id, account_id, self.timing.alias_ms, int(again))
        return self._run("link", (shard.alias(account_id, digest), shard.alerts), args, bool)

    def move(
        self,
        conversation_id: str,
        target: str,
        noted: Mapping[str, str],
        *,
        moved: str,
        kin: Iterable[str],
    ) -> list[str]:
        """Have what comes for a conversation go to another; return what ``adopt`` takes of it.

        That is who has taken over, "" for nobody, then digests of messages with their times; []
        if it moved elsewhere than to ``moved``, "" nowhere, or took in others than ``kin``.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        what = (json.dumps(list(noted.items())), moved, " ".join(sorted(kin)))
        args = (target, self.timing.alias_ms, *what)
        return self._run("move", (s.links(c), s.seen(c), s.takeover(c)), args, list)

    def adopt(
        self,
        conversation_id: str,
        noted: Mapping[str, str],
        seen: Sequence[str],
        author: str,
        *,
        moved: str,
    ) -> bool:
        """Note ids in a conversation's links, with digests and a takeover of what moved there.

        It has not moved any more then; False if it moved elsewhere than to ``moved``, "" nowhere.
        """
        s, c, timing = self.shard_of(conversation_id), conversation_id, self.timing
        # Shorter than an alias is kept: who writes with both ids renews both.
        what = (json.dumps(list(noted.items())), timing.alias_ms // 2)
        args = (*what, json.dumps(seen), timing.seen_ms, author, timing.takeover_ms, moved)
        return self._run("adopt", (s.links(c), s.seen(c), s.takeover(c)), args, bool)

    def foreign(self, conversation_id: str, event: ForeignMessage, *, pause: bool) -> int:
        """Note a message from our number; OURS, or TAKEOVER_BEGINS where ``pause`` begins one.

        GREETING where it may be the app's own, sent to a new customer: the batch then waits.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        sent, formerly_sent = self._sent(s, event.account_id, event.provider_id)
        cooldown = s.cooldown(event.account_id, "foreign_reply")
        names = (
            s.batches(c), sent, s.takeover(c), cooldown, s.alerts, s.stats, formerly_sent, s.due,
            s.seen(c), s.handovers, s.handover(c), s.trail(c),
        )  # fmt: skip
        timing = self.timing
        waits = (timing.takeover_ms if pause else 0, timing.greeting_ms, timing.greeting_pause_ms)
        args = (c, event.account_id, event.author, *waits, _SPACE.sub("", event.text))
        return self._run("foreign", names, args, int)

    def exchange(self, run: Run, answer: str, parts: Sequence[str]) -> Exchange:
        """Return what the history keeps of an answered run: the texts, and what they are of."""
        return Exchange(
            customer=run.turn,
            answer=answer,
            batch_id=run.wake_up.batch_id,
            lines=tuple(
                Line(
                    self.keyring.digest(run.account_id, it.stands_for),
                    len(line.encode()),
                    self.keyring.digest(run.account_id, it.quotes) if it.quotes else "",
                    len(line.encode()) - len(it.text.encode()),
                )
                for it, line in zip(run.messages, run.lines, strict=True)
            ),
            lengths=tuple(map(len, parts)),
        )

    def tag(self, account_id: str, conversation_id: str, batch_id: str, part: int) -> Tag:
        """Return the sealed tag of a part."""
        tag = Tag(conversation_id, batch_id, part)
        return replace(tag, seal=self.keyring.seal(account_id, tag))

    def mark_sent(self, account_id: str, tag: Tag, provider_id: str) -> bool | None:
        """Record that a part is with the provider; whether its batch moved on by this.

        ``account_id``: whose channel says so. None if the tag's seal or the batch is another
        account's: then nothing is recorded.
        """
        names, args = self._report(account_id, tag, provider_id)
        return self._run("mark_sent", names, (*args, self.timing.delivery_ms), _belief)

    def mark_delivered(self, account_id: str, tag: Tag, provider_id: str) -> bool | None:
        """Record that the customer has a part, after ``mark_sent``; whether all of the answer.

        Else as above.
        """
        names, args = self._report(account_id, tag, provider_id)
        (c, _, sent, formerly_sent, letter, stats, _, _, dead, trail, *answered) = names
        names = (c, sent, formerly_sent, letter, stats, dead, trail, *answered)
        return self._run("mark_delivered", names, (*args, self.timing.delivery_ms), _belief)

    def mark_failed(self, account_id: str, tag: Tag, provider_id: str, code: str) -> bool | None:
        """Record that a part never arrived: its batch becomes a dead letter.

        Return whether a person is alerted by this; else as above.
        """
        s, c = self.shard_of(tag.conversation_id), tag.conversation_id
        names, args = self._report(account_id, tag, provider_id)
        names += (s.history(c), s.cooldown(account_id, f"undelivered:{c}:{tag.batch_id}"))
        return self._run("mark_failed", names, (*args, code), _belief)

    def _report(
        self, account_id: str, tag: Tag, provider_id: str
    ) -> tuple[tuple[str, ...], tuple[Arg, ...]]:
        """Return the keys and arguments of a report about a part."""
        s, c, dead_letter = self.shard_of(tag.conversation_id), tag.conversation_id, tag.batch_id
        names = (
            s.batches(c), s.lease, *self._sent(s, account_id, provider_id or str(tag)),
            s.dead_letter(dead_letter), s.stats, s.alerts, s.cooldown(account_id, "status_refused"),
            s.dead, s.trail(c), s.answered(c, tag.batch_id), s.answers(c), s.watched(account_id),
        )  # fmt: skip
        what = (tag.batch_id, tag.part, self._seal_state(account_id, tag))
        return names, (c, account_id, *what, self.timing.sent_ms)

    def _seal_state(self, account_id: str, tag: Tag) -> str:
        """Return whether the seal is the account's, "1" or "0"; "" where there is none."""
        expected = self.keyring.seal(account_id, tag).encode()
        return tag.seal and str(int(hmac.compare_digest(tag.seal.encode(), expected)))

    def _sent(self, shard: Shard, account_id: str, provider_id: str) -> tuple[str, str]:
        """Return the keys of a message that we sent: ours, and that of earlier releases."""
        digest = self.keyring.digest
        return shard.sent(digest(account_id, provider_id)), shard.sent(digest(provider_id))

    # The flusher.

    def watch(self) -> Watch:
        """Return what is due, and in which shards there is something to do."""
        prefixes = " ".join(shard.prefix for shard in self.keyring.all_shards)
        args = (prefixes, HEARTBEAT_RENEWED_MS)
        return self._run("watch", (), args, lambda answer: Watch(*answer))

    def collect(self, shard: Shard, *, limit: int) -> list[Collected]:
        """Put up to ``limit`` (at most 200) due batches in flight and return them."""
        names = (shard.due, shard.lease, shard.stats, shard.heartbeat, shard.limits)
        args = (shard.prefix, limit, self.timing.wake_up_ms)
        return self._run("collect", names, args, lambda rows: [Collected(*row) for row in rows])

    def reap(self, shard: Shard, *, limit: int) -> tuple[list[Reaped], list[Overdue]]:
        """Return what is to be done about up to ``limit`` batches whose lease ran out.

        And up to ``limit`` batches about which a person is alerted now: they wait too long.
        """
        names = (shard.lease, shard.stats, shard.overdue, shard.alerts, shard.limits)
        timing = self.timing
        waits = (timing.wake_up_ms, timing.wake_up_max_ms, timing.ambiguous_ms)
        args = (shard.prefix, limit, *waits)
        return self._run("reap", names, args, lambda answer: _reaped(*answer))

    def overdue(self, shard: Shard, *, limit: int) -> list[Overdue]:
        """Return up to ``limit`` batches about which a person is alerted now, as ``reap`` does."""
        names = (shard.overdue, shard.stats, shard.alerts)
        args = (shard.prefix, limit)
        return self._run("overdue", names, args, lambda rows: [Overdue(*names) for names in rows])

    def remind(self, shard: Shard, *, limit: int) -> list[tuple[str, str, str, str, str]]:
        """See to up to ``limit`` hand-overs whose time has come.

        For each: conversation, account, the batch that handed over, the batch that is to be sent
        to the customer now, "" for none, and "reminded", "expired" or "".
        """
        names = (shard.handovers, shard.due, shard.lease, shard.stats, shard.alerts)
        args = (shard.prefix, limit, self.timing.wake_up_ms)
        return self._run("remind", names, args, lambda rows: [tuple(row) for row in rows])

    def recover_orphan(self, conversation_id: str) -> list[tuple[str, str, int]]:
        """Make dead letters of what is left where a batch vanished; [] if none did.

        For each that did: its new id, "" if nothing was left of it; a detail; messages kept.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        names = (
            s.batches(c), s.open_messages(c), s.flight_messages(c), s.due, s.lease, s.stats,
            s.dead, s.alerts, s.trail(c),
        )  # fmt: skip
        args = (c, s.prefix)
        return self._run("recover_orphan", names, args, lambda rows: [tuple(row) for row in rows])

    # One run of a batch.

    def begin(self, wake_up: WakeUp) -> Run | None:
        """Take the attempt that a wake-up names; None if it is over or in other hands."""
        s, c = self.shard_of(wake_up.conversation_id), wake_up.conversation_id
        names = (
            s.batches(c),
            s.flight_messages(c),
            s.lease,
            s.stats,
            s.takeover(c),
            s.trail(c),
            s.limits,
            s.links(c),
            s.handover(c),
        )
        args = (c, wake_up.batch_id, wake_up.stage, wake_up.attempt)
        return self._run(
            *("begin", names, args),
            lambda answer: _run_of(wake_up, answer, self.keyring) if answer else None,
        )

    def renew(self, run: Run) -> int:
        """Renew the run's lease; DONE, SUPERSEDED, or STALE if it is not the holder's any more."""
        s, c = self.shard_of(run.wake_up.conversation_id), run.wake_up.conversation_id
        args = (c, run.token, run.limits.lease_ms)
        names = (s.batches(c), s.lease, s.limits, s.handover(c))
        return self._run("renew", names, args, int)

    def supersede(self, run: Run, *, draft: bool) -> int:
        """Put the batch back in front of what its customer wrote since; how often that was done.

        0 if it may not be put back (any more). ``draft``: an answer, perhaps cut off, is discarded.
        """
        s, c = self.shard_of(run.wake_up.conversation_id), run.wake_up.conversation_id
        names = (
            s.batches(c), s.flight_messages(c), s.open_messages(c), s.due, s.lease, s.stats,
            s.overdue, s.trail(c), s.limits, s.handover(c),
        )  # fmt: skip
        return self._run("supersede", names, (c, run.token, int(draft)), int)

    def recall(self, batch: Held) -> Kept | None:
        """Return what a question to the model is made of; None if it is not the holder's."""
        return self._recall(batch.wake_up.conversation_id, batch.token)

    def recall_kin(self, conversation_id: str) -> Kept | None:
        """Return the same of a conversation whose batch is not the caller's; never None."""
        return self._recall(conversation_id, "kin")

    def _recall(self, conversation_id: str, token: str) -> Kept | None:
        s, c = self.shard_of(conversation_id), conversation_id
        names = (s.batches(c), s.flight_messages(c), s.open_messages(c), s.history(c), s.links(c))
        return self._run(
            *("recall", names, (token,)),
            lambda answer: replace(Kept(*answer[:4]), moved=answer[4]) if answer else None,
        )

    def amend(self, batch: Held, kept: Kept, change: Change) -> bool:
        """Change lists, in one step; False if one is not any more as it was read in ``kept``."""
        return self._amend(batch.wake_up.conversation_id, batch.token, kept, change)

    def amend_kin(self, conversation_id: str, kept: Kept, change: Change) -> bool:
        """Do the same in another conversation of the customer, whose batch is not the caller's.

        False, too, if that is being asked about and would be changed.
        """
        return self._amend(conversation_id, "kin", kept, change)

    def _amend(self, c: str, token: str, kept: Kept, change: Change) -> bool:
        s = self.shard_of(c)
        names = (s.batches(c), s.stats, s.overdue, s.dead, s.trail(c))
        read = kept.lists()
        lists = [
            [name, len(read[name]), _sha1("\n".join(read[name])), list(raws)]
            for name, raws in change.lists.items()
        ]
        what = (_bytes(json.dumps(lists, ensure_ascii=False)), json.dumps(change.ended))
        args = (c, token, s.prefix, *what)
        return self._run("amend", names, args, bool)

    def spend(self, run: Run, budget: Budget) -> SpendRefusal | None:
        """Count the question that the run is about to ask; None if it may be asked."""
        c, account_id, home = run.wake_up.conversation_id, run.account_id, self.keyring.shards[0]
        names = (
            home.spent(c), home.spent_day(c), home.spent(account_id), home.spent(_ALL),
            home.cooldown(account_id, "budget_conversation"),
            home.cooldown(account_id, "budget_conversation_day"),
            home.cooldown(account_id, "budget_account"),
            home.cooldown(_ALL, "budget_installation"), home.cooldown(_ALL, "model_off"),
            home.model_off, home.alerts, home.stats,
        )  # fmt: skip
        days = (budget.share_day, budget.account_day, budget.installation_day)
        args = (c, account_id, run.token, budget.conversation_hour, *days)
        return self._run(
            "spend", names, args, lambda answer: SpendRefusal(*answer) if answer else None
        )

    def refund(self, run: Run) -> bool:
        """Take back the question that ``spend`` counted for the run; False if it counted none."""
        c, home = run.wake_up.conversation_id, self.keyring.shards[0]
        names = (
            home.spent(c), home.spent_day(c), home.spent(run.account_id), home.spent(_ALL),
            home.stats,
        )  # fmt: skip
        return self._run("refund", names, (run.token,), bool)

    def checkpoint(
        self,
        run: Run,
        parts: Sequence[str],
        exchange: Exchange,
        *,
        apology: tuple[str, str] | None = None,
        handover: Handover | None = None,
        waiting: Waiting | None = None,
    ) -> int:
        """Keep the reply and pass the batch on to sending; STALE, DONE, HANDED_OVER or SUPERSEDED.

        ``apology``: reason and detail of the dead letter that it becomes when the reply, which is
        no answer then, was sent. ``handover``: why a person is to go on, and ``waiting`` what is
        done meanwhile; they are alerted in the same step, once.
        """
        s, c = self.shard_of(run.wake_up.conversation_id), run.wake_up.conversation_id
        reply = json.dumps(list(parts), ensure_ascii=False)
        after = " ".join(apology or ())
        why = _bytes(_handover(run, handover, waiting or Waiting())) if handover else ""
        kept = (exchange.encode(), self.timing.wake_up_ms, after, why)
        args = (c, run.token, reply, len(parts), *kept)
        names = (
            s.batches(c), s.lease, s.trail(c), s.stats, s.handovers, s.handover(c), s.alerts,
            s.limits,
        )  # fmt: skip
        return self._run("checkpoint", names, args, int)

    def mark_sending(self, run: Run, part: int, policy: str) -> int:
        """Record that ``part`` is about to leave; GO, STALE or SUPERSEDED."""
        s, c = self.shard_of(run.wake_up.conversation_id), run.wake_up.conversation_id
        names = (s.batches(c), s.lease, s.trail(c), s.limits, s.handover(c))
        args = (c, run.token, part, policy, run.limits.lease_ms)
        # As durable as what is acknowledged: after a power cut the part must not be sent again.
        return self._run("mark_sending", names, args, int, durable=True)

    def finish(self, run: Run, *, suppressed: str = "", unanswered: Exchange | None = None) -> bool:
        """End the batch as answered, or as suppressed for a reason.

        ``unanswered``: what the history keeps of a batch that is suppressed.
        """
        s, c = self.shard_of(run.wake_up.conversation_id), run.wake_up.conversation_id
        names = (
            s.batches(c), s.flight_messages(c), s.due, s.lease, s.stats, s.history(c), s.overdue,
            s.trail(c), s.limits, s.answered(c, run.wake_up.batch_id), s.answers(c),
            s.watched(run.account_id), s.outbox,
        )  # fmt: skip
        timing = self.timing
        kept = (timing.history_max, timing.history_ms, timing.delivery_ms)
        args = (c, run.token, suppressed, *kept, unanswered.encode() if unanswered else "")
        return self._run("finish", names, args, bool)

    def fail(self, batch: Held, outcome: Outcome, wait_ms: int, detail: str = "") -> int:
        """End a run without success and wait; DONE, SPENT (dead_letter it) or STALE."""
        s, c = self.shard_of(batch.wake_up.conversation_id), batch.wake_up.conversation_id
        names = (s.batches(c), s.lease, s.stats, s.trail(c), s.limits)
        return self._run("fail", names, (c, batch.token, outcome, wait_ms, detail), int)

    def dead_letter(self, batch: Held, reason: str, detail: str) -> tuple[int, int] | None:
        """Make the batch a dead letter; messages (kept, lost), None if it is not the holder's."""
        s, c = self.shard_of(batch.wake_up.conversation_id), batch.wake_up.conversation_id
        batch_id = batch.wake_up.batch_id
        names = (
            s.batches(c), s.flight_messages(c), s.due, s.lease, s.stats, s.dead,
            s.dead_letter(batch_id), s.alerts, s.overdue, s.trail(c), s.limits,
        )  # fmt: skip
        args = (c, batch_id, batch.token, reason, detail)
        return self._run(
            "dead_letter", names, args, lambda answer: tuple(answer) if answer else None
        )

    # What a person is alerted to.

    def open_circuit(
        self, account_id: str, of: Dependency, code: str, batch: WakeUp | None = None
    ) -> bool:
        """Stop the account's calls to its channel or a model; whether a person is alerted by this.

        One batch probes after a pause, which doubles with every probe that fails. ``code``: why.
        ``batch``: whose call failed, None where a status says so later. Safe to run twice.
        """
        home, timing = self.keyring.shards[0], self.timing
        names = (home.circuit(account_id, of), home.alerts, home.stats)
        pauses = (timing.defer_ms, timing.circuit_ms_max)
        args = (account_id, of.alert, code, batch.batch if batch else "", *pauses)
        return self._run("open_circuit", names, args, bool)

    def try_circuit(self, account_id: str, of: Dependency, batch: WakeUp) -> int:
        """Return CLOSED or PROBE where the batch may call now, else how long it is to wait, ms."""
        names = (self.keyring.shards[0].circuit(account_id, of),)
        return self._run("try_circuit", names, (batch.batch, PROBE_MS, PROBED_MS), int)

    def close_circuit(self, account_id: str, of: Dependency, batch: WakeUp) -> int:
        """Let calls go on after the probe of ``batch``; how long they were stopped, ms, 0 if not.

        0 too where the failure was learnt late: then another batch probes before all may go.
        """
        names = (self.keyring.shards[0].circuit(account_id, of),)
        return self._run("close_circuit", names, (batch.batch, LATE_MS, RELAPSE_MS), int)

    def alert_once(
        self, kind: str, detail: str, *, account_id: str = "", cooldown_ms: int, about: str = ""
    ) -> bool:
        """Alert a person about the installation; False if that was done within the cooldown.

        ``about``: what else has a cooldown of its own. So many at most as COOLDOWNS_MAX; beyond,
        some share one.
        """
        s = self.keyring.shards[0]
        number = f":{zlib.crc32(about.encode()) % COOLDOWNS_MAX}" if about else ""
        names = (s.cooldown(account_id, f"{kind}{number}"), s.alerts, s.stats)
        return self._run("alert_once", names, (kind, detail, account_id, cooldown_ms), bool)

    def note_channel(self, account_id: str, gravity: int, detail: str) -> bool:
        """Keep whether an account's channel is lost; whether a person is alerted by this.

        ``gravity``: of a Notice; 0 where it works. ``detail``: in plain words. Safe to run twice.
        """
        home = self.keyring.shards[0]
        names = (home.channels, home.alerts, home.stats)
        return self._run("note_channel", names, (account_id, int(gravity), detail), bool)

    # What an operator decides.

    def replay(self, conversation_id: str, batch_id: str, account_id: str, limits: Limits) -> int:
        """Put a dead letter back to be answered; return its messages, GONE or FULL.

        FULL: the conversation would hold more messages than Timing allows; try when some of
        them are answered.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        names = (
            s.batches(c), s.open_messages(c), s.due, s.stats, s.dead, s.dead_letter(batch_id),
            s.overdue, s.trail(c), s.limits,
        )  # fmt: skip
        args = (c, batch_id, account_id, *limits.encode(), self.timing.waiting_max)
        return self._run("replay", names, args, int)

    def discard(self, conversation_id: str, batch_id: str, reason: str) -> int:
        """Forget a dead letter; return its messages, or GONE."""
        s = self.shard_of(conversation_id)
        names = (s.stats, s.dead, s.dead_letter(batch_id), s.trail(conversation_id))
        return self._run("discard", names, (batch_id, reason), int)

    def end_handover(self, conversation_id: str, how: str) -> bool:
        """Have nobody awaited any more, as a person decided; False if nobody was."""
        s, c = self.shard_of(conversation_id), conversation_id
        names = (s.handovers, s.handover(c), s.stats, s.trail(c))
        return self._run("end_handover", names, (c, how), bool)

    def erase(self, conversation_id: str) -> list[int]:
        """Forget a conversation but its dead letters, with the answers that are watched.

        Return what there was: messages open and in flight, exchanges, message digests.
        """
        s, c = self.shard_of(conversation_id), conversation_id
        names = (
            s.batches(c), s.open_messages(c), s.flight_messages(c), s.seen(c), s.history(c),
            s.takeover(c), s.due, s.lease, s.stats, s.overdue, s.trail(c), s.answers(c),
            s.handovers, s.handover(c),
        )  # fmt: skip
        return self._run("erase", names, (c, s.prefix), list)

    def audit(self, shard: Shard, conversation_ids: Sequence[str]) -> list[tuple[str, list[int]]]:
        """Return each conversation's numbers in the order of ``audit.lua``."""
        args = (shard.prefix, " ".join(conversation_ids))
        names = (shard.due, shard.lease)
        return self._run("audit", names, args, lambda rows: [(c, counts) for c, *counts in rows])

    def seed_seq(self, shard: Shard) -> int:
        """Have a shard's numbers start no lower than the clock; return the last that was given."""
        return self._run("seed_seq", (shard.stats,), (), int)


def _reaped(
    expired: list[list[Any]], overdue: list[list[str]]
) -> tuple[list[Reaped], list[Overdue]]:
    return [
        Reaped(WakeUp(c, batch, attempt, Stage(stage)), account, Expiry(expiry), *held)
        for c, account, batch, stage, attempt, expiry, *held in expired
    ], [Overdue(*names) for names in overdue]


def _kin(links: Mapping[str, str]) -> tuple[str, ...]:
    """Return the other conversations whose past belongs to one, by its links."""
    joined = [name.removeprefix("kin:") for name in links if name.startswith("kin:")]
    return tuple(filter(None, dict.fromkeys([links.get("moved", ""), *joined])))


def _handover(run: Run, handover: Handover, waiting: Waiting) -> str:
    """Return what ``checkpoint`` is to keep of a hand-over."""
    customer = run.messages[-1].customer if run.messages else run.address
    kept = asdict(handover) | asdict(waiting) | {"address": customer}
    return json.dumps(kept, ensure_ascii=False)


def _address(
    keyring: Keyring,
    account_id: str,
    messages: Sequence[InboundMessage],
    links: Mapping[str, str],
    otherwise: str,
) -> str:
    """Return the id to answer: the newest message's, or what that id has become since it wrote.

    ``otherwise``: the id where there is no message.
    """
    known, customer, sent_at_ms = dict(links), otherwise, 0
    if messages:
        customer, sent_at_ms = messages[-1].customer, messages[-1].sent_at_ms
    for _ in range(len(known)):
        moved = known.pop(f"to:{keyring.digest(account_id, customer)}", None)
        if moved is None:
            break
        new, since_ms = json.loads(moved)
        if sent_at_ms > since_ms:
            # Whoever wrote after the change has the id that was given up.
            break
        customer = new
    return customer


def _awaited(
    conversation_id: str, batch: bytes | str | None, since_ms: bytes | str | None
) -> list[tuple[str, int]]:
    """Return the name of the batch that has a person awaited, with since when; or nothing."""
    batch_id = batch.decode() if isinstance(batch, bytes) else batch
    return [(f"{conversation_id}:{batch_id}", int(since_ms or 0))] if batch_id else []


def _run_of(wake_up: WakeUp, answer: list[Any], keyring: Keyring) -> Run:
    now_ms, token, account_id, first_ms, kept, count, reply, part, *rest = answer
    taken_over, heard_ms, tries, apology, flat, awaited, superseded, *raws = rest
    awaited_by, since_ms, address = awaited
    links = dict(zip(flat[::2], flat[1::2], strict=True))
    reason, _, detail = apology.partition(" ")
    messages = in_order(decode_all(account_id, raws), now_ms)
    limits = Limits.decode(kept)
    if limits is None:
        # The batch is this run's by now: with the defaults it can be answered all the same.
        log.error("limits.unreadable", extra={"account": account_id, "limits": kept})
    return Run(
        wake_up=wake_up,
        token=token,
        account_id=account_id,
        now_ms=now_ms,
        first_ms=first_ms,
        limits=limits or Limits(),
        count=count,
        messages=messages,
        parts=tuple(json.loads(reply)) if reply else (),
        part=part,
        taken_over=bool(taken_over),
        heard_ms=heard_ms,
        tries=tries,
        apology=(reason, detail) if apology else None,
        address=_address(keyring, account_id, messages, links, address or ""),
        awaited=dict(_awaited(wake_up.conversation_id, awaited_by, since_ms)),
        kin=_kin(links),
        moved=links.get("moved", ""),
        superseded=bool(superseded),
    )


def _belief(answer: int) -> bool | None:
    """Return what became of a report; None if it was not this account's to make."""
    return None if answer < 0 else answer > 0


class Pipeline(Scripts):
    """The same methods, queued, as in redis-py: their values come from ``execute``.

    What a queued method itself returns is None, whatever its annotation says. ``durable``: the
    values come when the server has the writes on its disk, where the store asks for that.
    """

    def __init__(self, store: "Store", *, durable: bool) -> None:
        super().__init__(store.keyring, store.timing, store.clock, store.figures)
        self._store = store
        self._durable = durable and store.synced
        self._calls: list[_Call] = []

    def _take(self, call: _Call, *, durable: bool) -> object:
        self._durable = self._durable or (durable and self._store.synced)
        self._calls.append(call)
        return None

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """Run what is queued in one round trip, and return the values in order.

        Raise LedgerUnavailableError if Redis did not answer, or refused any of it; without
        ``raise_on_error`` such an error stands in the place of a value that was refused.
        """
        calls, self._calls = self._calls, []
        if not calls:
            return []
        values = _run_all(self._store.client, calls, durable=self._durable)
        errors = [value for value in values if isinstance(value, LedgerUnavailableError)]
        if errors and raise_on_error:
            raise errors[0]
        return values


class Persistent(Scripts):
    """The same methods, each tried until the ledger took it: for what only this process knows.

    ``again``: told of the verb, of how many tries failed and of the last error, says whether to
    try once more; the error is raised where it says no. Each script is safe to run twice.
    """

    def __init__(
        self, store: "Store", again: Callable[[str, int, LedgerUnavailableError], bool]
    ) -> None:
        super().__init__(store.keyring, store.timing, store.clock, store.figures)
        self._store = store
        self._again = again

    def _take(self, call: _Call, *, durable: bool) -> object:
        for tries in count(1):
            try:
                return self._store._take(call, durable=durable)  # noqa: SLF001 - of our kind
            except LedgerUnavailableError as error:
                if not self._again(call.verb, tries, error):
                    raise
        raise AssertionError


class Store(Scripts):
    """The ledger in one Redis. ``clock`` is for tests; without it time is the server's.

    ``privacy_key`` turns customers' ids into digests; processes that share a ledger share it.
    ``synced``: what must survive a power cut is waited for until the server has it on its disk.
    ``trial``: of a release on trial, which meets no customer's message.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        privacy_key: str,
        shards: int = 1,
        generation: int = 1,
        timing: Timing | None = None,
        synced: bool = False,
        trial: bool = False,
        clock: Callable[[], int] | None = None,
    ) -> None:
        keyring = Keyring(privacy_key, shards=shards, generation=generation, trial=trial)
        super().__init__(keyring, timing or Timing(), clock or (lambda: 0), Figures())
        self.client = client
        self.synced = synced
        self._form: dict[str, str | int] = {
            "schema": SCHEMA,
            "generation": generation,
            "shards": shards,
            # Only a digest of the key can be kept where the digests are.
            "privacy_key": keyring.digest("form"),
        }

    def _take(self, call: _Call, *, durable: bool) -> object:
        with self.figures.traces.span(f"ledger {call.verb}"):
            (value,) = _run_all(self.client, [call], durable=durable and self.synced)
            if isinstance(value, LedgerUnavailableError):
                raise value
        return value

    def pipeline(self, *, durable: bool = False) -> Pipeline:
        """Return a pipeline; ``durable``: see there."""
        return Pipeline(self, durable=durable)

    def load_scripts(self) -> None:
        """Have Redis know every script of this release; safe to run twice.

        Raise LedgerUnavailableError if one is missing and our user may not load it.
        """
        scripts = list(SCRIPTS.values())
        with reached():
            try:
                known: Any = self.client.script_exists(*(script.digest for script in scripts))
            except NoPermissionError:
                # Users as installed with earlier releases may load, and not ask.
                known = [False] * len(scripts)
            missing = [script for script, there in zip(scripts, known, strict=True) if not there]
            if missing:
                _load_scripts(self.client, missing)

    def open(self) -> str:
        """Return the ledger id of this Redis, creating the ledger if there is none.

        Raise ConfigurationError if it was made with another form or PRIVACY_KEY: its
        conversations would not be found again; LedgerUnavailableError also as ``load_scripts``
        does. Safe to run twice.
        """
        self.load_scripts()
        with reached():
            self.client.hsetnx(keys.META, "identity", uuid4().hex)
            for name, value in self._form.items():
                self.client.hsetnx(keys.META, name, value)
        ledger_id = self.ledger_id()
        round_trip = self.pipeline()
        for shard in self.keyring.all_shards:
            round_trip.seed_seq(shard)
        round_trip.execute()
        return ledger_id

    def ledger_id(self) -> str:
        """Return the id of the ledger in this Redis, "" if there is none.

        Raise ConfigurationError if it has another form than ours.
        """
        with reached():
            kept: Any = self.client.hgetall(keys.META)
        for name, value in self._form.items():
            found = kept.get(name.encode(), str(value).encode()).decode()
            if found != str(value):
                raise ConfigurationError(
                    "ledger_mismatch", f"{name}={value}: this ledger was made with {name}={found}"
                )
        return str(kept.get(b"identity", b"").decode())

    def now_ms(self) -> int:
        """Return the time by which the ledger's steps are timed: the server's, or a test's."""
        with reached():
            return self.clock() or server_ms(self.client.time())

    def begin(self, wake_up: WakeUp) -> Run | None:
        """Take the attempt that a wake-up names; None if it is over or in other hands.

        Of what waits where the customer moved from, with the past of all their ids; a person who
        answers the customer has taken that over, too.
        """
        run = super().begin(wake_up)
        if run is None or not run.kin:
            return run
        kin = dict.fromkeys([*(self._kin(run.moved) if run.moved else ()), *run.kin])
        kin.pop(wake_up.conversation_id, None)
        # A person may have answered under whichever id, also while it was being joined.
        authors = self.read([self.shard_of(c).takeover(c) for c in kin])
        awaited = {**self.awaited(kin), **run.awaited}
        taken_over = run.taken_over or any(authors)
        return replace(run, taken_over=taken_over, kin=tuple(kin), awaited=awaited)

    def awaited(self, conversation_ids: Iterable[str]) -> dict[str, int]:
        """Return the batches by which a person is awaited in conversations, with since when, ms."""
        names = list(conversation_ids)
        pipeline: Any = self.client.pipeline(transaction=False)
        for c in names:
            pipeline.hmget(self.shard_of(c).handover(c), "batch", "since")
        with reached():
            found = pipeline.execute()
        return dict(it for c, kept in zip(names, found, strict=True) for it in _awaited(c, *kept))

    def end_handovers_of_kin(self, conversation_id: str) -> None:
        """Have nobody awaited where the same customer wrote under other ids: a person answers."""
        for c in self._kin(conversation_id):
            self.end_handover(c, "answered")

    def peek(self, conversation_id: str) -> Peek:
        """Return what a conversation is doing now."""
        shard = self.shard_of(conversation_id)
        pipeline = self.client.pipeline(transaction=False)
        pipeline.time()
        pipeline.zscore(shard.due, conversation_id)
        pipeline.hmget(shard.batches(conversation_id), "open_count", "count", "stage", "state")
        with reached():
            time, due_ms, (opened, flying, stage, state) = pipeline.execute()
        return Peek(
            now_ms=self.clock() or server_ms(time),
            open_count=int(opened or 0),
            due_ms=None if due_ms is None else int(due_ms),
            flight_count=int(flying or 0),
            stage=Stage(stage.decode()) if stage else None,
            state=state.decode() if state else None,
        )

    def account_of(self, conversation_id: str) -> str:
        """Return whose conversation it is, "" where nothing of it is open or in flight."""
        with reached():
            found: Any = self.client.hget(
                self.shard_of(conversation_id).batches(conversation_id), "account"
            )
        return found.decode() if found else ""

    def read(self, names: Sequence[str]) -> list[str | None]:
        """Return the strings kept under keys, None where there is none, in one round trip."""
        if not names:
            return []
        pipeline = self.client.pipeline(transaction=False)
        for name in names:
            pipeline.get(name)
        with reached():
            return [value and value.decode() for value in pipeline.execute()]

    def owners(
        self, events: Sequence[InboundMessage | ForeignMessage]
    ) -> tuple[list[str], dict[int, str]]:
        """Return the conversation of each event, and by its place where else a message came first.

        That is where it came by a number before it came by the other kind of id, in the last day.
        Costs a round trip only if one came under a second id alone, or was written by others.
        """
        found = [self.conversation_id(event.account_id, event.customer) for event in events]
        asked: list[tuple[int, bool]] = []
        pipeline: Any = self.client.pipeline(transaction=False)
        for n, event in enumerate(events):
            if not event.secondary:
                continue
            digest = self.keyring.digest(event.account_id, event.customer)
            pipeline.get(self.shard_of(digest).alias(event.account_id, digest))
            asked.append((n, False))
            if isinstance(event, InboundMessage) and event.has_twin:
                # Whoever comes by a number looks only where its own conversation is.
                for shard in self.keyring.shards:
                    name, claim = (
                        shard.alias(event.account_id, self._twin(event)),
                        f"{found[n]}:lid",
                    )
                    pipeline.set(name, claim, nx=True, get=True, px=_TWIN_MS)
                    asked.append((n, True))
        twins: dict[int, str] = {}
        with reached():
            kept = pipeline.execute() if asked else []
        for (n, is_claim), value in zip(asked, kept, strict=True):
            place, _, kind = (value or b"").decode().partition(":")
            if is_claim and kind == "phone":
                twins[n] = place
            elif value and not is_claim:
                found[n] = place
        return found, twins

    def tags(self, statuses: Sequence[DeliveryStatus]) -> list[Tag | None]:
        """Return the part that each status is about, None where it names none of ours.

        Costs a round trip only if what may end an answer's time came without a sealed tag: from a
        provider that carries none, about a message that is not ours, or that an earlier release
        sent.
        """
        found = [Tag.parse(status.tag) for status in statuses]
        ends = [n for n, status in enumerate(statuses) if status.state in ENDS]
        lost = [n for n in ends if not getattr(found[n], "seal", "")]
        names = [
            name
            for n in lost
            for shard in self.keyring.shards
            for name in self._sent(shard, statuses[n].account_id, statuses[n].provider_id)
        ]
        kept = iter(self.read(names))
        for n in lost:
            candidates = list(islice(kept, 2 * len(self.keyring.shards)))
            tag = next(filter(None, (Tag.parse(f"aa:{known}") for known in candidates)), None)
            if tag:
                place = tag.conversation_id, tag.batch_id, tag.part
                found[n] = self.tag(statuses[n].account_id, *place)
        return found

    def watched(self, conversation_id: str) -> list[str]:
        """Return the batches of a conversation whose answers may be watched, see ``Timing``.

        Those of an earlier release, which had no index, as far as the history knows them.
        """
        shard = self.shard_of(conversation_id)
        pipeline: Any = self.client.pipeline(transaction=False)
        pipeline.zrange(shard.answers(conversation_id), 0, -1)
        pipeline.lrange(shard.history(conversation_id), 0, -1)
        with reached():
            members, history = pipeline.execute()
        known = {member.decode().partition(":")[0] for member in members}
        return sorted((known | {it.batch_id for it in Exchange.decode_all(history)}) - {""})

    def _letters(self, conversation_id: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return by batch the dead letters, and the answers that may yet become some, see ``Kept``.

        All letters of its shard are looked at.
        """
        shard, known = self.shard_of(conversation_id), self.watched(conversation_id)
        dead = {*known, *self._dead(conversation_id)}
        with reached():
            # In one step: a status may turn the one into the other.
            pipeline: Any = self.client.pipeline(transaction=True)
            for batch_id in sorted(dead):
                pipeline.lrange(shard.dead_letter(batch_id), 0, -1)
            for batch_id in known:
                pipeline.lrange(shard.answered(conversation_id, batch_id), 0, -1)
            found = [_text(raws) for raws in pipeline.execute()]
        letters = dict(zip(sorted(dead), found, strict=False))
        answered = dict(zip(known, found[len(dead) :], strict=True))
        return (
            {batch_id: raws for batch_id, raws in letters.items() if raws},
            {batch_id: raws for batch_id, raws in answered.items() if raws},
        )

    def _dead(self, conversation_id: str) -> Iterator[str]:
        """Yield the dead letters of a conversation; all of its shard are looked through."""
        shard, named, cursor = self.shard_of(conversation_id), f'"{conversation_id}"'.encode(), -1
        client: Any = self.client
        while cursor:
            pipeline = client.pipeline(transaction=False)
            with reached():
                cursor, page = client.zscan(shard.dead, max(0, cursor), count=LETTERS_PAGE)
                ids = [batch_id.decode() for batch_id, _ in page]
                for batch_id in ids:
                    pipeline.lindex(shard.dead_letter(batch_id), 0)
                headers = pipeline.execute()
            found = zip(ids, headers, strict=True)
            yield from (batch_id for batch_id, header in found if header and named in header)

    def history(self, conversation_id: str) -> list[Exchange]:
        """Return the past exchanges, oldest first; before them those of conversations it joined."""
        return self.past([*self._kin(conversation_id), conversation_id])

    def _kin(self, conversation_id: str) -> tuple[str, ...]:
        """Return the conversations whose past belongs to one, or to where that has moved by now."""
        place, found, passed = conversation_id, dict[str, None](), set[str]()
        while place and place not in passed:
            passed.add(place)
            with reached():
                kept: Any = self.client.hgetall(self.shard_of(place).links(place))
            links = {name.decode(): value.decode() for name, value in kept.items()}
            found |= dict.fromkeys(_kin(links))
            place = links.get("moved", "")
        return tuple(found)

    def recall_all(self, batch: Held, kin: Sequence[str] = ()) -> Kept | None:
        """Return as ``recall``, with letters, and with other conversations of the same customer.

        ``kin``: such as the batch's own links do not name: where it moved to, others may be known.
        Letters are read before messages: what is replayed meanwhile is in the one or the other.
        """
        c = batch.wake_up.conversation_id
        letters, answered = self._letters(c)
        others = dict.fromkeys([*self._kin(c), *kin])
        found = {it: self._kept(it) for it in others if it != c}
        kept = self.recall(batch)
        return kept and replace(kept, letters=letters, answered=answered, kin=found)

    def _kept(self, conversation_id: str) -> Kept:
        """Return what is kept of a conversation whose batch is not ours."""
        s, c = self.shard_of(conversation_id), conversation_id
        letters, answered = self._letters(c)
        with reached():
            # In one step: collect turns the one list into the other.
            pipeline: Any = self.client.pipeline(transaction=True)
            pipeline.hmget(s.batches(c), "count", "state", "stage", "spent")
            for key in (s.flight_messages(c), s.open_messages(c), s.history(c)):
                pipeline.lrange(key, 0, -1)
            (count, state, stage, spent), *lists = pipeline.execute()
        # Of dead workers no answer is taken any more.
        is_running = state == b"running" and not spent
        is_asked = is_running or (count is not None and stage != b"generate")
        flight, waiting, history = map(_text, lists)
        return Kept(int(count or 0), flight, waiting, history, letters, answered, is_asked)

    def past(self, conversation_ids: Sequence[str]) -> list[Exchange]:
        """Return the past exchanges of conversations, one after the other, each oldest first."""
        pipeline: Any = self.client.pipeline(transaction=False)
        for c in conversation_ids:
            pipeline.lrange(self.shard_of(c).history(c), 0, -1)
        with reached():
            kept = pipeline.execute() if conversation_ids else []
        return Exchange.decode_all(raw for each in kept for raw in each)

    def circuits(self, account_ids: Sequence[str]) -> list[Circuit]:
        """Return the open circuits of the accounts, in their order, in one round trip."""
        pipeline: Any = self.client.pipeline(transaction=False)
        named = [(account_id, of) for account_id in account_ids for of in Dependency]
        for account_id, of in named:
            name = self.keyring.shards[0].circuit(account_id, of)
            pipeline.hmget(name, "code", "since", "next", "closed")
        with reached():
            found = pipeline.execute() if named else []
        return [
            Circuit(account_id, of, code.decode(), int(since_ms), int(next_ms))
            for (account_id, of), (code, since_ms, next_ms, closed) in zip(
                named, found, strict=True
            )
            if code and since_ms and next_ms and not closed
        ]

    def lost_channels(self) -> list[LostChannel]:
        """Return the channels that their providers say are lost, by account."""
        with reached():
            kept: Any = self.client.hgetall(self.keyring.shards[0].channels)
        found = ((name.decode(), *value.decode().split(" ", 2)) for name, value in kept.items())
        return [LostChannel(it[0], int(it[1]), int(it[2]), it[3]) for it in sorted(found)]

    def switch_model(self, *, on: bool) -> None:
        """Let questions be asked from now on, or none; what waits is kept. Safe to run twice."""
        with reached():
            if on:
                self.client.delete(self.keyring.shards[0].model_off)
            else:
                self.client.set(self.keyring.shards[0].model_off, 1)

    def model_is_on(self) -> bool:
        """Return whether questions may be asked."""
        with reached():
            return not self.client.exists(self.keyring.shards[0].model_off)

    def asked(self) -> int:
        """Return the questions of the installation in its day, which begins with the first."""
        return self.asked_of([])[-1]

    def asked_of(self, account_ids: Sequence[str]) -> list[int]:
        """Return the questions of each account in its day, and last those of the installation."""
        pipeline: Any = self.client.pipeline(transaction=False)
        for name in (*account_ids, _ALL):
            pipeline.hget(self.keyring.shards[0].spent(name), "count")
        with reached():
            return [int(count or 0) for count in pipeline.execute()]

    def probe(self) -> None:
        """Write something small to every shard. Raise LedgerUnavailableError if that fails."""
        pipeline = self.client.pipeline(transaction=False)
        for shard in self.keyring.shards:
            pipeline.hincrby(shard.stats, "probes", 1)
        with reached():
            pipeline.execute()


def server_ms(time: Any) -> int:  # noqa: ANN401 - redis-py types a reply as anything
    """Return the reply of TIME in milliseconds since the epoch."""
    seconds, micros = time
    return int(seconds) * 1000 + int(micros) // 1000


@contextmanager
def reached() -> Iterator[None]:
    """Turn what Redis raises into LedgerUnavailableError."""
    try:
        yield
    except redis.RedisError as error:
        raise LedgerUnavailableError("ledger_away", type(error).__name__) from error
