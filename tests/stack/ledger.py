"""What the ledger holds about a customer, read past the processes that the test is about."""

from typing import Any

import redis

from batching.audit import audit
from batching.inspect import DeadLetter, counters, dead_letters
from batching.model import Timing
from batching.store import Store
from tests.stack.customer import Customer
from tests.waiting import eventually

#: As short as the installation's: a test that flushes by itself must not slow it down.
TIMING = Timing(wake_up_ms=1_000)


class LedgerView:
    """The ledger behind ``client``, as an operator with the ``privacy_key`` sees it."""

    def __init__(self, client: redis.Redis, *, privacy_key: str, shards: int) -> None:
        self.client = client
        self.store = Store(client, privacy_key=privacy_key, shards=shards, timing=TIMING)

    def conversation_id(self, customer: Customer) -> str:
        return self.store.conversation_id(customer.account.account_id, customer.customer_id)

    def state(self, customer: Customer) -> str:
        """Return the state of the customer's batch in flight, "" if there is none."""
        return self.store.peek(self.conversation_id(customer)).state or ""

    def dead_letters(self, customer: Customer) -> list[DeadLetter]:
        conversation_id = self.conversation_id(customer)
        letters = dead_letters(self.store)
        return [letter for letter in letters if letter.conversation_id == conversation_id]

    def wait_for_death(self, customer: Customer) -> str:
        """Wait for a dead letter of the customer's and return its "reason/detail"."""
        letter = eventually(lambda: self.dead_letters(customer), what="a dead letter")[0]
        return f"{letter.reason}/{letter.detail}"

    def wait_until_settled(self, customer: Customer) -> None:
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

    def check_counters(self) -> None:
        """Check that every message is accounted for, by the counters and by the content."""
        problems = audit(self.store).problems
        eventually(lambda: not audit(self.store).problems, what=f"the end of {problems}")
        balance = counters(self.store)
        assert [shard for shard in balance if not shard.holds or shard.lost] == []

    def used_bytes(self) -> int:
        """Return what the server says it uses for its data."""
        info: Any = self.client.info("memory")
        return int(info["used_memory"])

    def let_pass(self, wait_ms: int) -> None:
        """Wait until the ledger's clock has moved on by ``wait_ms``, for what must not happen."""
        until_ms = self.store.watch().now_ms + wait_ms
        eventually(lambda: self.store.watch().now_ms > until_ms, what=f"{wait_ms} ms to pass")
