"""What a process counts and times, until it adds that to the ledger.

A worker has no port that could be scraped, and what it knows must outlive it. So every process adds
up in memory, and with each heartbeat of the fleet adds the sums to one hash of the ledger: the same
figures are then read from every web process. No answer costs a command more for it. What a killed
process counted since its last heartbeat is not in them: the ledger's own counters are exact, these
are for rates and percentiles.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import redis

from batching.errors import AdminError, SupersededError
from batching.keys import FIGURES
from batching.model import CANARY_ACCOUNT

#: What is timed → upper bounds of its buckets, ms. Bounds may change: each sum has its own in its
#: field, and counts towards the next of those that are known here.
TIMED: Final[Mapping[str, tuple[int, ...]]] = {
    "wait": (1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 45_000, 60_000, 120_000, 600_000),
    "quiet": (500, 1_000, 2_500, 5_000, 7_500, 10_000, 12_500, 15_000, 20_000, 30_000, 60_000,
        120_000),
    "generation": (250, 500, 1_000, 2_000, 3_000, 5_000, 8_000, 15_000, 30_000, 60_000, 120_000),
    "sending": (50, 100, 250, 500, 1_000, 2_000, 3_000, 5_000, 10_000, 30_000),
    "end_to_end": (5_000, 10_000, 12_000, 15_000, 20_000, 30_000, 45_000, 60_000, 120_000, 300_000,
        900_000, 3_600_000),
}  # fmt: skip
#: The bucket above all bounds, and what is not a bucket: the sum of all times, ms.
BEYOND, SUM = "beyond", "sum"
#: How a call to a model or a channel ended that raised nothing.
DONE = "done"
FAILED = "failed"
#: The same of one that was cut off, because the customer wrote again.
CUT = "cut"
#: So many different sums a process keeps, whatever is labelled; further ones are not counted.
SUMS_MAX = 4_000


#: The span above all others of a batch: from its first message to its end.
WHOLE = "answer"


class Traces:
    """What was done for each batch, as spans. This one keeps none and costs nothing.

    ``kept``: whether there is one that does. A batch is named as by ``WakeUp.batch``. Nothing of
    what was written may be told of a span: names, codes, digests and numbers alone.
    """

    kept = False

    def span(
        self,
        name: str,  # noqa: ARG002
        *,
        batch: str | None = None,  # noqa: ARG002
        **about: str | int,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """Keep the block as a span; without ``batch`` only inside of another, as a part of it."""
        return nullcontext()

    def past(
        self,
        name: str,
        batch: str,
        *,
        ms: int = 0,
        since_ms: int = 0,
        code: str = "",
        **about: str | int,
    ) -> None:
        """Keep what took ``ms``, or began at ``since_ms`` since the epoch, and has just ended."""

    def note(self, **about: str | int) -> None:
        """Add to what is known of the span that this thread is in."""

    def used(self, kind: str, tokens: int) -> None:
        """Add "input" or "output" tokens to the span that this thread is in."""

    def close(self) -> None:
        """Send what waits, for a little while. For the end of a process."""


class Figures:
    """The sums of one process. Every method may be called from any thread, and none raises."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: Counter[str] = Counter()
        #: How many threads the process has for tasks, and how many of them have one now.
        self.threads = self.busy = 0
        #: Queue → its wake-ups that nobody has taken, as far as this process knows.
        self.queued: dict[str, int] = {}
        self.traces = Traces()

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add to a sum."""
        if by:
            self._add({" ".join((name, *labels)): by})

    def timed(self, name: str, *labels: str, ms: int) -> None:
        """Add a time to those of ``name``, one of TIMED; those of the canary are not counted."""
        if CANARY_ACCOUNT in labels:
            return
        start = " ".join((name, *labels))
        bucket = next((str(bound) for bound in TIMED[name] if ms <= bound), BEYOND)
        self._add({f"{start} {bucket}": 1, f"{start} {SUM}": max(0, ms)})

    @contextmanager
    def call(self, name: str, of: str, *labels: str) -> Iterator[None]:
        """Time a call to ``of``, and count the code with which it fails.

        The first of ``labels`` is the account.
        """
        began, ended = time.monotonic(), FAILED
        try:
            with self.traces.span(name, of=of, account=labels[0]):
                yield
            ended = DONE
        except SupersededError:
            ended = CUT
            raise
        except AdminError as error:
            self.count("failures", of, error.code)
            raise
        except Exception as error:
            self.count("failures", of, type(error).__name__)
            raise
        finally:
            self.timed(name, *labels, ended, ms=int((time.monotonic() - began) * 1000))

    def occupy(self, threads: int) -> None:
        """Count so many threads more as busy; fewer if it is negative."""
        with self._lock:
            self.busy += threads

    def write(self, client: redis.Redis) -> None:
        """Add the sums to those in the ledger, and begin anew. Raise RedisError: they are kept.

        If only the answer got lost they are added twice.
        """
        with self._lock:
            sums, self._sums = self._sums, Counter()
        pipeline = client.pipeline(transaction=True)
        for field, by in sums.items():
            pipeline.hincrby(FIGURES, field, by)
        try:
            if sums:
                pipeline.execute()
        except redis.RedisError:
            self._add(sums)
            raise

    def _add(self, sums: Mapping[str, int]) -> None:
        with self._lock:
            for field, by in sums.items():
                if field in self._sums or len(self._sums) < SUMS_MAX:
                    self._sums[field] += by


class Summed:
    """The sums of all processes, as the ledger has them. ``kept``: the hash."""

    def __init__(self, kept: Mapping[bytes, bytes]) -> None:
        self._sums: dict[tuple[str, ...], int] = {}
        for field, by in kept.items():
            self._sums[(*field.decode(errors="replace").split(" "),)] = _number(by)

    def counted(self, name: str) -> dict[tuple[str, ...], int]:
        """Return the sums of ``name`` by their labels."""
        return {labels: by for (first, *rest), by in self._sums.items() if first == name
                for labels in [(*rest,)]}  # fmt: skip

    def times(self, name: str) -> dict[tuple[str, ...], tuple[list[int], int]]:
        """Return by their labels how many times are in each bucket of ``name``, and their sum, ms.

        The last bucket is the one above all bounds.
        """
        found: dict[tuple[str, ...], tuple[list[int], int]] = {}
        for (*labels, last), by in self.counted(name).items():
            buckets, total_ms = found.get((*labels,), ([0] * (len(TIMED[name]) + 1), 0))
            if last == SUM:
                total_ms += by
            else:
                buckets[_place(TIMED[name], last)] += by
            found[*labels,] = buckets, total_ms
        return found


def _place(bounds: tuple[int, ...], bucket: str) -> int:
    """Return the number of the bucket that one of any release counts towards."""
    at = int(bucket) if bucket.isdecimal() else bounds[-1] + 1
    return next((n for n, bound in enumerate(bounds) if at <= bound), len(bounds))


def _number(value: Any) -> int:  # noqa: ANN401 - as redis-py returns it
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
