"""A small world around a real ledger: two accounts, fakes for the ports, time that is moved."""

from dataclasses import dataclass, field
from typing import Any

from batching import flow
from batching.audit import audit
from batching.inspect import MESSAGES, counters, total
from batching.keys import Shard
from batching.model import (
    Budget,
    DeliveryStatus,
    Event,
    ForeignMessage,
    InboundMessage,
    Kind,
    Limits,
    Receipt,
    Reception,
    Run,
    Stage,
    Tag,
    Waiting,
    WakeUp,
)
from batching.ports import Account, Desk
from batching.store import GO, Store
from tests.fakes import (
    FakeAccounts,
    FakeChannel,
    FakeClock,
    FakeLeaseRenewer,
    FakeModel,
    FakePause,
    FakeQueue,
)

ANNA = "79990000001"
BORIS = "79990000002"
LIMITS = Limits()
#: A person answers Anna by the salon's telephone.
PERSON = ForeignMessage("salon", ANNA, "phone-1", "person")


@dataclass(frozen=True)
class End:
    """What there is in the end; ``asked``: questions, ``offered``: parts given to the channel."""

    counts: dict[str, int]
    alerts: list[tuple[str, str]] = field(default_factory=list)
    asked: int = 1
    offered: int = 1


ANSWERED, DEAD = {"accepted": 1, "answered": 1}, {"accepted": 1, "dead": 1}
WAITS = {"accepted": 1, "flight": 1}
IN_DOUBT = [("ambiguous", "no_status")]


@dataclass
class World:
    """What a test of the flow needs, and short words for its steps."""

    store: Store
    clock: FakeClock
    model: FakeModel = field(default_factory=FakeModel)
    channel: FakeChannel = field(default_factory=FakeChannel)
    queue: FakeQueue = field(default_factory=FakeQueue)
    lease_renewer: FakeLeaseRenewer = field(default_factory=FakeLeaseRenewer)
    pause: FakePause = field(default_factory=FakePause)
    limits: Limits = LIMITS
    ambiguous: str = "alert"
    budget: Budget | None = None
    fallbacks: tuple[FakeModel, ...] = ()
    apology: str = ""
    desk: Desk | None = None
    waiting: Waiting = field(default_factory=Waiting)
    reception: Reception = field(default_factory=Reception)
    written: int = 0

    @property
    def accounts(self) -> FakeAccounts:
        """The salon, and its sister with the same model and channel."""
        return FakeAccounts.of(*(
            Account(
                name, self.limits, self.channel, self.model, self.ambiguous, self.budget,  # type: ignore[arg-type]
                self.fallbacks, self.apology, self.desk, self.waiting,
            )
            for name in ("salon", "sister")
        ))  # fmt: skip

    @property
    def client(self) -> Any:
        """The client of the ledger's server."""
        return self.store.client

    @property
    def anna(self) -> str:
        """The conversation of the salon with Anna."""
        return self.store.conversation_id("salon", ANNA)

    @property
    def shard(self) -> Shard:
        """The shard of that conversation."""
        return self.store.shard_of(self.anna)

    def message(
        self,
        text: str = "hello",
        *,
        customer: str = ANNA,
        account: str = "salon",
        message_id: str = "",
        **fields: Any,
    ) -> InboundMessage:
        """Return a new message; ids count up unless one is given."""
        self.written += 1
        fields = {"kind": Kind.TEXT} | fields
        message_id = message_id or f"id-{self.written}"
        return InboundMessage(account, customer, message_id, text=text, **fields)

    @staticmethod
    def message_of(text: str, **fields: Any) -> InboundMessage:
        """Return a message of Anna's without a ledger."""
        return InboundMessage("salon", ANNA, "id-0", text=text, **{"kind": Kind.TEXT} | fields)

    def receive(self, *events: Event) -> list[Receipt]:
        """Take events in as the web does."""
        return flow.receive(self.store, events, lambda _: self.limits, lambda _: self.reception)

    def write(self, *texts: str, customer: str = ANNA, account: str = "salon") -> list[Receipt]:
        """Receive texts one by one."""
        return [
            self.receive(self.message(text, customer=customer, account=account))[0]
            for text in texts
        ]

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.clock.advance_ms(ms)

    def flush(self) -> list[WakeUp]:
        """Flush and return the wake-ups that were enqueued."""
        flow.flush(self.store, self.queue)
        return self.queue.take()

    def generate(self, wake_up: WakeUp) -> list[WakeUp]:
        """Run the generate actor and return the wake-ups that were enqueued."""
        ways: Any = {"renew_lease": self.lease_renewer, "pause": self.pause}
        flow.generate(self.store, self.accounts, self.queue, wake_up, **ways)
        return self.queue.take()

    def send(self, wake_up: WakeUp) -> None:
        """Run the send actor."""
        ways: Any = {"renew_lease": self.lease_renewer, "pause": self.pause}
        flow.send(self.store, self.accounts, wake_up, **ways)

    def answer(self, wake_ups: list[WakeUp]) -> None:
        """Do what the wake-ups ask for until they are silent."""
        while wake_ups:
            wake_up = wake_ups.pop(0)
            if wake_up.stage is Stage.GENERATE:
                wake_ups += self.generate(wake_up)
            else:
                self.send(wake_up)

    def settle(self, *waits_ms: int) -> None:
        """Let time pass, flush, and answer what is due; once for each of ``waits_ms``."""
        for ms in waits_ms or (9_000,):
            self.wait(ms)
            self.answer(self.flush())

    def to_generating(self, *texts: str) -> WakeUp:
        """Bring a batch of these texts to the point where the model is to be asked."""
        self.write(*(texts or ("hello",)))
        return self.after(9_000)

    def to_sending(self, *texts: str) -> WakeUp:
        """Bring a batch of these texts to the point where it is to be sent."""
        (send,) = self.generate(self.to_generating(*texts))
        return send

    def after(self, ms: int) -> WakeUp:
        """Let time pass, and return the only wake-up of a flush."""
        self.wait(ms)
        (wake_up,) = self.flush()
        return wake_up

    def begin(self, wake_up: WakeUp) -> Run:
        """Begin a run as a worker does that then stands still or dies."""
        run = self.store.begin(wake_up)
        assert run
        return run

    def begin_sending(self, wake_up: WakeUp) -> Run:
        """Begin a run of send and record that its part leaves, as a worker does that then dies."""
        run = self.begin(wake_up)
        assert self.store.mark_sending(run, run.part, self.ambiguous) == GO
        return run

    def tag(self, run: Run | None = None) -> Tag:
        """Return the tag of the part that a run sends, or that the channel was given last."""
        if run:
            wake_up = run.wake_up
            place = wake_up.conversation_id, wake_up.batch_id, run.part
            return self.store.tag(run.account_id, *place)
        tag = Tag.parse(self.channel.attempts[-1].tag)
        assert tag
        return tag

    def status(self, tag: Tag, state: str = "sent") -> None:
        """Receive a status of a part."""
        self.receive(DeliveryStatus("salon", "wamid.1", state, str(tag), code="cloud_131026"))

    def counts(self) -> dict[str, int]:
        """Return the messages by what became of them, without what is 0."""
        named = total(counters(self.store))
        return {name: named[name] for name in MESSAGES if named[name]}

    def end(self) -> End:
        """Return what there is now, of a test that began with nothing."""
        asked, offered = len(self.model.questions), len(self.channel.attempts)
        return End(self.counts(), self.alerts(), asked, offered)

    def overdue(self) -> int:
        """Return how often a person was alerted that a batch waits too long."""
        return sum(kind == "overdue" for kind, _ in self._alerts())

    def alerts(self) -> list[tuple[str, str]]:
        """Return kind and detail of every alert but those of batches that wait, in order."""
        return [alert for alert in self._alerts() if alert[0] != "overdue"]

    def _alerts(self) -> list[tuple[str, str]]:
        shards = self.store.keyring.shards
        entries = [entry for shard in shards for _, entry in self.client.xrange(shard.alerts)]
        return [(entry[b"kind"].decode(), entry[b"detail"].decode()) for entry in entries]

    def check(self) -> None:
        """Assert what holds after every step: counters, indexes, no expiry of content."""
        assert [shard for shard in counters(self.store) if not shard.holds] == []
        assert audit(self.store).problems == ()
