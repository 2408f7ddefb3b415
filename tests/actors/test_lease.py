"""Lease renewal: tests wait for events, none measures time."""

import threading

import pytest

from actors.tasks import renew_lease
from batching.errors import LedgerUnavailableError

DEADLINE_S = 10.0


class Lease:
    """Lets a test wait for renewals. Is lost at renewal ``lost_at``, or raises ``failures``."""

    def __init__(self, *failures: Exception, lost_at: int = 0) -> None:
        self._failures = list(failures)
        self._lost_at = lost_at
        self._renewals = threading.Semaphore(0)
        self.count = 0

    def extend(self) -> bool:
        self.count += 1
        self._renewals.release()
        if self._failures:
            raise self._failures.pop(0)
        return self.count != self._lost_at

    def renewed(self, times: int) -> bool:
        return all(self._renewals.acquire(timeout=DEADLINE_S) for _ in range(times))


def renewers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lease-renewer"]


def test_lease_is_renewed_while_the_call_runs():
    lease = Lease()

    with renew_lease(lease.extend, 30):
        assert lease.renewed(3)


def test_renewer_ends_with_the_call():
    lease = Lease()

    with renew_lease(lease.extend, 3):
        assert lease.renewed(1)

    assert renewers() == []


def test_renewer_ends_when_the_call_raises():
    with pytest.raises(ValueError, match="slow"), renew_lease(Lease().extend, 30_000):
        raise ValueError("slow")

    assert renewers() == []


def test_lost_lease_is_not_renewed_again():
    lease = Lease(lost_at=2)

    with renew_lease(lease.extend, 3):
        assert lease.renewed(2)
        for renewer in renewers():
            renewer.join(DEADLINE_S)

    assert lease.count == 2


def test_missed_renewal_is_followed_by_another():
    lease = Lease(LedgerUnavailableError("ledger_away"))

    with renew_lease(lease.extend, 3):
        assert lease.renewed(2)
