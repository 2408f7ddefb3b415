"""What the ledger says about a customer, read past the processes that the test is about."""

from typing import Any

import redis

from batching.model import Timing
from batching.operations import DeadLetter, Operations
from batching.store import Store
from tests.e2e.customer import Customer
from tests.e2e.waiting import eventually

#: The pace of the installation: a test that flushes by itself must not slow it down.
PACE = Timing(ring_ms=1_000)


class Books:
    """The ledger behind ``client``, as an operator with the ``privacy_key`` sees it."""

    def __init__(self, client: redis.Redis, *, privacy_key: str, shards: int) -> None:
        self.client = client
        self.store = Store(client, privacy_key=privacy_key, shards=shards, timing=PACE)
        self.operations = Operations(self.store)

    def conversation_id(self, customer: Customer) -> str:
        """Return what the ledger calls the conversation with a customer."""
        return self.store.conversation_id(customer.account.account_id, customer.number)

    def state(self, customer: Customer) -> str:
        """Return the state of the customer's batch in flight, "" if there is none."""
        return self.store.peek(self.conversation_id(customer)).state or ""

    def dead_letters(self, customer: Customer) -> list[DeadLetter]:
        """Return the customer's dead letters, oldest first."""
        conversation_id = self.conversation_id(customer)
        letters = self.operations.dead_letters()
        return [letter for letter in letters if letter.conversation_id == conversation_id]

    def wait_for_death(self, customer: Customer) -> str:
        """Wait for a dead letter of the customer's; return why it is one, "reason/detail"."""
        letter = eventually(lambda: self.dead_letters(customer), what="a dead letter")[0]
        return f"{letter.reason}/{letter.detail}"

    def wait_until_settled(self, customer: Customer) -> None:
        """Wait until nothing of the customer's is open or in flight."""

        def idle() -> bool:
            peek = self.store.peek(self.conversation_id(customer))
            return peek.open_count == peek.flight_count == 0

        eventually(idle, what="the conversation to be idle")

    def alerts(self, name: str, value: str) -> list[str]:
        """Return the kinds of the alerts in which field ``name`` has ``value``, oldest first."""
        found = []
        for shard in self.store.keyring.shards:
            entries: Any = self.client.xrange(shard.alerts)
            found += [
                fields[b"kind"].decode()
                for _, fields in entries
                if fields.get(name.encode()) == value.encode()
            ]
        return found

    def alerts_of(self, customer: Customer) -> list[str]:
        """Return the kinds of the alerts about the customer's conversation, oldest first."""
        return self.alerts("conversation", self.conversation_id(customer))

    def let_pass(self, wait_ms: int) -> None:
        """Return when so much of the ledger's time has passed: for what must not happen in it."""
        until_ms = self.store.watch().now_ms + wait_ms
        eventually(lambda: self.store.watch().now_ms > until_ms, what=f"{wait_ms} ms to pass")
