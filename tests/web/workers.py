"""The workers' part, done by the test itself, step by step."""

from batching import flow
from runtime.build import Runtime
from tests.fakes import FakeLeaseRenewer, FakeQueue


class Workers:
    """Does what flusher and workers do when the test says so."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.queue = FakeQueue()

    def flush(self) -> None:
        """Put what is due in flight."""
        flow.flush(self._runtime.store, self.queue)

    def answer(self) -> None:
        """Generate and send for all that is in flight."""
        store, accounts, renewer = self._runtime.store, self._runtime.accounts, FakeLeaseRenewer()
        for wake_up in self.queue.take():
            flow.generate(store, accounts, self.queue, wake_up, renew_lease=renewer)
        for wake_up in self.queue.take():
            flow.send(store, accounts, wake_up, renew_lease=renewer)
