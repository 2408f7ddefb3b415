"""A small world around a real ledger: one account, fakes for the ports, time that is moved."""

from dataclasses import dataclass, field
from typing import Any

from batching import flow
from batching.audit import audit
from batching.inspect import MESSAGES, counters, total
from batching.model import Budget, Event, InboundMessage, Kind, Limits, Receipt, Stage, WakeUp
from batching.ports import Account
from batching.store import Store
from tests.fakes import FakeAccounts, FakeChannel, FakeClock, FakeLeaseRenewer, FakeModel, FakeQueue

ANNA = "79990000001"
BORIS = "79990000002"
LIMITS = Limits()


@dataclass
class World:
    """What a test of the flow needs, and short words for its steps."""

    store: Store
    clock: FakeClock
    model: FakeModel = field(default_factory=FakeModel)
    channel: FakeChannel = field(default_factory=FakeChannel)
    queue: FakeQueue = field(default_factory=FakeQueue)
    lease_renewer: FakeLeaseRenewer = field(default_factory=FakeLeaseRenewer)
    limits: Limits = LIMITS
    ambiguous: str = "alert"
    budget: Budget | None = None
    written: int = 0

    @property
    def accounts(self) -> FakeAccounts:
        """The salon, and its sister with the same model and channel."""
        return FakeAccounts.of(*(
            Account(name, self.limits, self.channel, self.model, self.ambiguous, self.budget)  # type: ignore[arg-type]
            for name in ("salon", "sister")
        ))  # fmt: skip

    def message(
        self,
        text: str = "hello",
        *,
        customer: str = ANNA,
        account: str = "salon",
        message_id: str = "",
        kind: Kind = Kind.TEXT,
    ) -> InboundMessage:
        """Return a new message; ids count up unless one is given."""
        self.written += 1
        return InboundMessage(account, customer, message_id or f"id-{self.written}", kind, text)

    def receive(self, *events: Event) -> list[Receipt]:
        """Take events in as the web does."""
        return flow.receive(self.store, events, lambda _: self.limits)

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
        """Flush and return the wake-ups that it rang."""
        flow.flush(self.store, self.queue)
        return self.queue.take()

    def generate(self, wake_up: WakeUp) -> list[WakeUp]:
        """Run the generate actor and return the wake-ups that it rang."""
        flow.generate(
            self.store, self.accounts, self.queue, wake_up, renew_lease=self.lease_renewer
        )
        return self.queue.take()

    def send(self, wake_up: WakeUp) -> None:
        """Run the send actor."""
        flow.send(self.store, self.accounts, wake_up, renew_lease=self.lease_renewer)

    def answer(self, wake_ups: list[WakeUp]) -> None:
        """Do what the wake-ups ask for until they are silent."""
        while wake_ups:
            wake_up = wake_ups.pop(0)
            if wake_up.stage is Stage.GENERATE:
                wake_ups += self.generate(wake_up)
            else:
                self.send(wake_up)

    def settle(self, ms: int = 9_000) -> None:
        """Let time pass, flush, and answer what is due."""
        self.wait(ms)
        self.answer(self.flush())

    def to_sending(self, *texts: str) -> WakeUp:
        """Bring a batch of these texts to the point where it is to be sent."""
        self.write(*(texts or ("hello",)))
        self.wait(9_000)
        (generate,) = self.flush()
        (send,) = self.generate(generate)
        return send

    def counts(self) -> dict[str, int]:
        """Return the messages by what became of them, without what is 0."""
        named = total(counters(self.store))
        return {name: named[name] for name in MESSAGES if named[name]}

    def overdue(self) -> int:
        """Return how often a person was alerted that a batch waits too long."""
        return sum(kind == "overdue" for kind, _ in self._alerts())

    def alerts(self) -> list[tuple[str, str]]:
        """Return kind and detail of every alert but those of batches that wait, in order."""
        return [alert for alert in self._alerts() if alert[0] != "overdue"]

    def _alerts(self) -> list[tuple[str, str]]:
        client: Any = self.store.client
        shards = self.store.keyring.shards
        entries = [entry for shard in shards for _, entry in client.xrange(shard.alerts)]
        return [(entry[b"kind"].decode(), entry[b"detail"].decode()) for entry in entries]

    def check(self) -> None:
        """Assert what holds after every step: counters, indexes, no expiry of content."""
        assert [shard for shard in counters(self.store) if not shard.holds] == []
        assert audit(self.store).problems == ()
        client: Any = self.store.client
        for shard in self.store.keyring.shards:
            for kind in ("c:", "o:", "f:", "d:"):
                for key in client.keys(f"{shard.prefix}{kind}*"):
                    assert client.ttl(key) == -1, key
            assert client.zcard(shard.dead) == len(client.keys(f"{shard.prefix}d:*"))
