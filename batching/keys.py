"""Every key of the ledger is made here, one function per key.

A shard is one hash tag ``{aa<generation>.<shard>}``, so that all keys of a conversation live in
one slot of a cluster. Key names hold digests only, never a phone number.
"""

import hashlib
import hmac
import zlib

from batching.model import CANARY_ACCOUNT, Tag

#: Hash: shards, schema, identity, created_ms. Written once, checked by every process at start.
META = "aa:meta"
#: Hash: one field per live process.
FLEET = "aa:fleet"
#: Hash: what processes counted and timed, as batching.figures names it → sum.
FIGURES = "aa:figures"
#: Hash: the scheduler's last canary: id, when posted and answered, what went wrong.
CANARY = "aa:canary"
#: Sorted set: id of a canary, the scheduler's or an operator's → when it was answered, ms.
CANARY_ANSWERED = "aa:canary:answered"
#: List: the ids of the canaries that an answer was sent to, for each that was, newest first.
CANARY_SENDS = "aa:canary:sends"
#: Hash: what is known of copies of this ledger. When the last one was begun that is in order,
#: made_ms; the first, since_ms; how old it may get, stale_ms; how long one is kept, kept_ms; which
#: step of a copy failed since, failed. Written by ansible/roles/backup alone.
BACKUP = "aa:backup"
#: Sorted set: conversation that was erased -> when, ms; there where copies are made, as long as
#: a copy may hold it.
ERASED = "aa:erased"
#: String: there while no scheduler is to post the next canary.
CANARY_TURN = "aa:canary:turn"
#: String: there while Sentry's monitor needs no further sign of life.
CHECK_IN = "aa:check_in"
#: String: there while a flush is enqueued and has not begun.
FLUSH_GATE = "aa:flush"


class Shard:
    """The keys of one shard: those that it has once, then those that it has by name."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        #: Sorted set: conversation → flush time, ms.
        self.due = f"{prefix}due"
        #: Sorted set: conversation → deadline of its batch in flight, ms.
        self.lease = f"{prefix}lease"
        #: Sorted set: conversation:batch → when a person is alerted that it waits, ms.
        self.overdue = f"{prefix}overdue"
        #: Sorted set: batch → time of its death, ms.
        self.dead = f"{prefix}dead"
        #: Sorted set: conversation in which a person is awaited → when that is looked at, ms.
        self.handovers = f"{prefix}handovers"
        #: Stream: one entry for each thing that a person must know.
        self.alerts = f"{prefix}alerts"
        #: Hash: account and kind → alerts beyond the rate, for one summary.
        self.throttled = f"{prefix}held"
        #: Stream: what other systems are still to be told of; there while EVENTS_URL is set.
        self.outbox = f"{prefix}outbox"
        #: List: what they did not take in days, JSON, newest first.
        self.outbox_dead = f"{prefix}outbox_dead"
        #: Sorted set: account, kind and code of an open alert → when people are told of it, ms.
        self.reminders = f"{prefix}reminders"
        #: Hash: the first alert of each open one, JSON, and how many there were.
        self.open_alerts = f"{prefix}open_alerts"
        #: List: who acknowledged which open alert and when, JSON, newest first.
        self.acks = f"{prefix}acks"
        #: Hash: the counters, and ``seq`` for batch ids and tokens.
        self.stats = f"{prefix}stats"
        #: Hash: id of a set of limits, as batches name it → the limits by name, JSON.
        self.limits = f"{prefix}limits"
        #: String: the time when a flusher last collected, ms.
        self.heartbeat = f"{prefix}heartbeat"
        #: Hash: account → what its provider says of a channel that is lost.
        self.channels = f"{prefix}channels"
        #: String: there while no model may be asked.
        self.model_off = f"{prefix}model_off"

    def batches(self, conversation_id: str) -> str:
        """Hash: the open batch and the batch in flight."""
        return f"{self.prefix}c:{conversation_id}"

    def open_messages(self, conversation_id: str) -> str:
        """List: open messages, oldest first."""
        return f"{self.prefix}o:{conversation_id}"

    def flight_messages(self, conversation_id: str) -> str:
        """List: messages in flight, oldest first."""
        return f"{self.prefix}f:{conversation_id}"

    def seen(self, conversation_id: str) -> str:
        """Sorted set: message digest → time of acceptance, ms."""
        return f"{self.prefix}seen:{conversation_id}"

    def history(self, conversation_id: str) -> str:
        """List: past exchanges, oldest first."""
        return f"{self.prefix}history:{conversation_id}"

    def trail(self, conversation_id: str) -> str:
        """List: the steps of its batches in flight, oldest first: "<ms> <verb> <batch> ..."."""
        return f"{self.prefix}trail:{conversation_id}"

    def takeover(self, conversation_id: str) -> str:
        """Return the string that is there while a person answers this customer."""
        return f"{self.prefix}takeover:{conversation_id}"

    def handover(self, conversation_id: str) -> str:
        """Hash: that a person is awaited, with what a model says of it for that person."""
        return f"{self.prefix}handover:{conversation_id}"

    def dead_letter(self, batch_id: str) -> str:
        """List: the header of a dead letter, JSON, then its messages."""
        return f"{self.prefix}d:{batch_id}"

    def answered(self, conversation_id: str, batch_id: str) -> str:
        """List: an answer that may yet be reported as failed: its header, then its messages."""
        return f"{self.answers(conversation_id)}:{batch_id}"

    def answers(self, conversation_id: str) -> str:
        """Sorted set: such answers of a conversation, as "<batch>:<account>" -> until when, ms."""
        return f"{self.prefix}answered:{conversation_id}"

    def watched(self, account_id: str) -> str:
        """Sorted set: such answers of an account, as "<conversation>:<batch>" -> until when, ms."""
        return f"{self.prefix}watched:{account_id}"

    def sent(self, provider_digest: str) -> str:
        """Return the string with the batch and part of a message that we sent, or "failed".

        The digest is of the account and the provider's id. Earlier releases digest the id alone:
        for them "ours" is there.
        """
        return f"{self.prefix}sent:{provider_digest}"

    def circuit(self, account_id: str, of: str) -> str:
        """Hash: the outage of an account's channel or model, and the batch that probes it."""
        return f"{self.prefix}circuit:{account_id}:{of}"

    def cooldown(self, account_id: str, kind: str) -> str:
        """Return the string that is there for a while after an alert of a kind that repeats."""
        return f"{self.prefix}cooldown:{account_id}:{kind}"

    def spent(self, name: str) -> str:
        """Hash: questions to a model in a conversation's present hour, or an account's day."""
        return f"{self.prefix}spent:{name}"

    def spent_day(self, conversation_id: str) -> str:
        """Hash: questions to the model in a conversation's present day."""
        return f"{self.prefix}spent:{conversation_id}:day"

    def links(self, conversation_id: str) -> str:
        """Hash: what is known of a customer's ids.

        The digest of each further id → 1; ``moved`` → the conversation that new messages go to;
        ``kin:<conversation>`` → 1 for one whose past belongs to it; ``to:<digest of an id>`` → its
        new address and since when, JSON.
        """
        return f"{self.prefix}links:{conversation_id}"

    def alias(self, account_id: str, digest: str) -> str:
        """Return the string with the conversation that a second id belongs to."""
        return f"{self.prefix}alias:{account_id}:{digest}"


class Keyring:
    """Turns ids into digests and finds the shard of each.

    ``trial``: of a release on trial, which has one shard of its own and can name no other.
    """

    def __init__(
        self, privacy_key: str, *, shards: int, generation: int, trial: bool = False
    ) -> None:
        self._privacy_key = privacy_key.encode()
        self.shards = tuple(Shard(f"{{aa{generation}.{n}}}:") for n in range(shards))
        self.canary = Shard(f"{{aa{generation}.{'trial.' if trial else ''}canary}}:")
        #: String: there while a flush is enqueued and has not begun.
        self.flush_gate = FLUSH_GATE
        if trial:
            self.shards = (self.canary,)
            # Where every user of the ledger may set and delete it.
            self.flush_gate = self.canary.cooldown(CANARY_ACCOUNT, "flush")

    @property
    def all_shards(self) -> tuple[Shard, ...]:
        """Return the customers' shards, and the canary's, whose counters are not theirs."""
        return tuple(dict.fromkeys((*self.shards, self.canary)))

    def digest(self, *names: str) -> str:
        """Return 24 hex digits that only a holder of the privacy key can compute."""
        text = "\0".join(names).encode("utf-8", "surrogatepass")
        return hmac.new(self._privacy_key, text, hashlib.sha256).hexdigest()[:24]

    def conversation_id(self, account_id: str, customer: str) -> str:
        """Return the conversation of an account with a customer."""
        kind = "k" if account_id == CANARY_ACCOUNT else "c"
        return f"{kind}_{self.digest(account_id, customer)}"

    def message_name(self, account_id: str, provider_id: str) -> str:
        """Return by what name log lines know a provider's id of a message; "" for none."""
        return provider_id and f"m_{self.digest(account_id, provider_id)}"

    def of_digest(self, digest: str) -> str:
        """Return the conversation of a customer by the digest of account and customer."""
        return f"c_{digest}"

    def seal(self, account_id: str, tag: Tag) -> str:
        """Return the digest that makes ``tag`` this account's; nobody else can compute it."""
        return self.digest("tag", account_id, tag.conversation_id, tag.batch_id, str(tag.part))

    def shard_of(self, name: str) -> Shard:
        """Return the shard that holds a conversation (or an alias digest)."""
        if name.startswith("k_"):
            return self.canary
        return self.shards[zlib.crc32(name.encode()) % len(self.shards)]
