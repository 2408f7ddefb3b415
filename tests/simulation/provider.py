"""The provider of all simulated accounts: takes parts, and may send a status of each."""

from typing import NoReturn

from batching.errors import (
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from batching.model import DeliveryStatus, ForeignMessage, Outbound
from tests.history.events import Doubted, Taken
from tests.simulation.model import SEAM
from tests.simulation.web import Web
from tests.simulation.world import World

CALL_MS, SOON_MS, LATE_MS = (20, 2_000), (50, 5_000), (20_000, 300_000)


class SimulatedChannel:
    """One account's way to the provider."""

    def __init__(self, world: World, web: Web, account_id: str) -> None:
        self._world = world
        self._web = web
        self._account_id = account_id
        self._sent = 0
        self.stopped_until_ms = 0

    def split(self, text: str) -> list[str]:
        """Return the parts of an answer."""
        return text.split(SEAM)

    def send(self, outbound: Outbound) -> str:
        """Take the part and say so; or take it and not say so; or not take it."""
        world = self._world
        world.boundary()
        span_ms = world.rng.randint(*CALL_MS)
        world.ambush(span_ms)
        world.hub.sleep(span_ms)
        if world.now_ms < self.stopped_until_ms and not world.healed:
            raise ChannelStoppedError("cloud_190")
        if world.chance("provider_transient"):
            raise TransientError("cloud_131016", retry_after_ms=world.rng.choice((None, 30_000)))
        if world.chance("provider_permanent"):
            raise PermanentError("cloud_131047")
        if world.chance("provider_doubt_untaken"):
            self._leave_in_doubt(outbound)
        provider_id = self._take(outbound)
        if world.chance("provider_doubt_taken"):
            self._leave_in_doubt(outbound)
        if world.chance("provider_bug"):
            world.add(Doubted(world.now_ms, outbound.tag))
            raise KeyError("messages")
        world.boundary()
        return provider_id

    def _leave_in_doubt(self, outbound: Outbound) -> NoReturn:
        self._world.add(Doubted(self._world.now_ms, outbound.tag))
        raise AmbiguousError("cloud_timeout")

    def _take(self, outbound: Outbound) -> str:
        world = self._world
        self._sent += 1
        provider_id = f"{self._account_id}-out-{self._sent}"
        world.add(
            Taken(
                *(world.now_ms, self._account_id, outbound.customer, outbound.tag),
                *(outbound.text, world.worker),
            )
        )
        if world.chance("status_failed"):
            self._tell(provider_id, "failed", outbound.tag)
        elif not world.chance("status_lost"):
            for state in ("sent", "delivered"):
                self._tell(provider_id, state, outbound.tag)
        if world.chance("echo"):
            echo = ForeignMessage(self._account_id, outbound.customer, provider_id, "unknown")
            self._web.deliver(echo, delay_ms=world.rng.randint(*SOON_MS))
        return provider_id

    def _tell(self, provider_id: str, state: str, tag: str) -> None:
        world = self._world
        carried = "" if world.chance("status_untagged") else tag
        code = "131026" if state == "failed" else ""
        status = DeliveryStatus(self._account_id, provider_id, state, carried, code)
        for _ in range(2 if world.chance("status_twice") else 1):
            span = LATE_MS if world.chance("status_late") else SOON_MS
            self._web.deliver(status, delay_ms=world.rng.randint(*span))
