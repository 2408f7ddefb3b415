"""A trial of a release: canaries, single ones and bursts, must come out of it, each of them once.

A release on trial runs as it will later: web, workers and scheduler, with its settings, its users
and its ways to ledger and broker. But it works in a shard of its own, and by queues of its own
(``TRIAL=1``), so whatever it does wrong, it does to canaries.
"""

import time
import uuid
from collections.abc import Callable, Sequence

from batching.model import CANARY_ACCOUNT
from batching.scan import scan_names
from batching.store import Store, reached
from canary.channel import CUSTOMER
from canary.probe import Probe

#: So many canaries in one go, in turn: customers write in bursts, and what goes wrong with those
#: alone one message does not show.
BURSTS = (3, 1)
#: How many keys are looked at in a step while the trial before is forgotten.
_PAGE = 1_000


def forget(store: Store) -> None:
    """Forget what trials before left in their shard; none may be under way.

    Raise LedgerUnavailableError; ValueError for the ledger of a process that is not on trial.
    """
    shard = store.keyring.canary
    if store.keyring.all_shards != (shard,):
        raise ValueError(shard.prefix)
    for names in scan_names(store, f"{shard.prefix}*", count=_PAGE):
        if names:
            with reached():
                store.client.delete(*names)


def run_trial(
    store: Store,
    probe: Probe,
    url: str,
    *,
    wait_ms: int,
    least_ms: int,
    pause: Callable[[], object],
) -> tuple[int, str]:
    """Send bursts to the web at ``url``, one after the other; return how many canaries came out.

    And what went wrong, "" if nothing: then each was answered once, for ``least_ms`` at least, in
    which a release that dies soon is to be dead. ``wait_ms``: how long a burst may take. ``pause``
    passes the time. Raise LedgerUnavailableError.
    """
    until = time.monotonic() + least_ms / 1000
    answered = 0
    while answered == 0 or time.monotonic() < until:
        for size in BURSTS:
            ids = [uuid.uuid4().hex for _ in range(size)]
            if wrong := _burst(store, probe, url, ids, wait_ms=wait_ms, pause=pause):
                return answered, wrong
            answered += size
    return answered, ""


def _burst(
    store: Store,
    probe: Probe,
    url: str,
    ids: Sequence[str],
    *,
    wait_ms: int,
    pause: Callable[[], object],
) -> str:
    """Return what went wrong with one burst, "" if all of it was answered once."""
    for message_id in ids:
        if refused := probe.post(url, message_id):
            return probe.last_step(message_id, refused)
    conversation_id = store.conversation_id(CANARY_ACCOUNT, CUSTOMER)
    until = time.monotonic() + wait_ms / 1000
    # To its end, and not only to its answer: a second one comes later than the first.
    while (at := store.peek(conversation_id)).open_count or at.flight_count:
        if time.monotonic() >= until:
            break
        pause()
    for message_id in ids:
        times = probe.times_answered(message_id)
        if times == 0:
            return probe.last_step(message_id, "")
        if times > 1:
            return f"a canary was answered {times} times: customers would be, too"
    if at.open_count or at.flight_count:
        return f"answered, and not ended: {probe.last_step(ids[-1], '')}"
    return ""
