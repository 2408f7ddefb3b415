"""The story of a message: received, collected, answered, sent. Every door calls one of these.

``receive`` is the web's, ``flush``, ``generate`` and ``send`` are the workers'. They take the
ledger and the ports from outside and do nothing behind anybody's back, so a simulation drives
the very same code. A step that is lost, repeated or late is harmless: the ledger knows what has
been done, and a doorbell only says where to look.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from batching.errors import ChannelStoppedError, LedgerUnavailableError, TransientError
from batching.intake import take
from batching.keys import Shard
from batching.limits import Limits
from batching.model import Event, Exchange, Outbound, Reason, Ring, Stage, Tag
from batching.ports import Account, Accounts, Doorbell, Keeper
from batching.records import Reaped, Receipt, Run, Verdict
from batching.settling import about, bury, named, salvage, settling
from batching.spending import spend
from batching.store import GO, SPENT, STOPPED, Store

log = logging.getLogger(__name__)


def receive(
    store: Store, events: Sequence[Event], limits_of: Callable[[str], Limits]
) -> list[Receipt]:
    """Bring a webhook's events into the ledger; a receipt for each message, in order.

    Raise LedgerUnavailableError: then nothing may be acknowledged, and all may be given again.
    """
    return take(store, events, limits_of)


def flush(store: Store, doorbell: Doorbell, *, limit: int = 100) -> int:
    """Put due batches in flight, see to expired leases, ring for both; return how many.

    Raise LedgerUnavailableError after all shards were looked at, if one could not be.
    """
    rings: list[Ring] = []
    troubles = []
    for shard in store.keyring.all_shards:
        try:
            _flush_shard(store, shard, rings, limit=limit)
        except LedgerUnavailableError as error:
            troubles.append(error)
    for ring in rings:
        if not _rung(doorbell, ring):
            # A broker that is away costs one time-out, not one a batch: their leases ring again.
            break
    if troubles:
        raise troubles[0]
    return len(rings)


def _flush_shard(store: Store, shard: Shard, rings: list[Ring], *, limit: int) -> None:
    """Add to ``rings`` what one shard needs; what is added is in flight, whatever fails then."""
    vanished: list[str] = []
    for batch in store.collect(shard, limit=limit):
        if not batch.batch_id:
            vanished.append(batch.conversation_id)
            continue
        about_batch = named(batch.ring, batch.account_id)
        told = {"batch_size": batch.count, "waited_ms": batch.waited_ms, "why": batch.why}
        log.info("batch.collected", extra=about_batch | told)
        rings.append(batch.ring)
    for reaped in store.reap(shard, limit=limit):
        rings += _rings_for(store, reaped)
    for late in store.overdue(shard, limit=limit):
        told = {"account": late.account_id, "conversation": late.conversation_id}
        log.error("batch.overdue", extra=told | {"batch": late.batch_id})
    for conversation_id in vanished:
        salvage(store, conversation_id)


def generate(
    store: Store, accounts: Accounts, doorbell: Doorbell, ring: Ring, *, keep: Keeper
) -> None:
    """Ask the model once for the batch, keep the reply, ring for the sending of it."""
    run = store.begin(ring)
    if run is None:
        return
    with settling(store, run, fatal=Reason.FATAL_MODEL), _kept(store, run, keep):
        account = _cleared(store, accounts, run)
        if account is None:
            return
        history = store.history(ring.conversation_id)
        spend(store, run, account.budget)
        answer = account.model.answer(history, run.turn, now_ms=run.now_ms)
        parts = account.channel.split(answer)
        # The reply is kept before it is sent: a retry must not ask the model twice.
        if store.checkpoint(run, parts, Exchange(customer=run.turn, answer=answer)):
            log.info("reply.generated", extra=about(run) | {"parts": len(parts)})
            _rung(doorbell, Ring(ring.conversation_id, ring.batch_id, 1, Stage.SEND))


def send(store: Store, accounts: Accounts, ring: Ring, *, keep: Keeper) -> None:
    """Send the parts of the reply that have not left yet; then the batch is answered."""
    run = store.begin(ring)
    if run is None:
        return
    with settling(store, run, fatal=Reason.FATAL_PROVIDER), _kept(store, run, keep):
        # With all parts out, only the end is to be recorded: whatever else holds by now.
        if run.part < len(run.parts):
            account = _cleared(store, accounts, run)
            if account is None or not _send_parts(store, account, run):
                return
        if store.finish(run):
            log.info("batch.answered", extra=about(run) | {"waited_ms": run.age_ms})


def _send_parts(store: Store, account: Account, run: Run) -> bool:
    """Hand over the parts that have not left; False if one is not this run's to send."""
    return all(_send_part(store, account, run, part) for part in range(run.part, len(run.parts)))


def _send_part(store: Store, account: Account, run: Run, part: int) -> bool:
    """Hand one part to the channel; False if it is not this run's to send."""
    tag = Tag(run.ring.conversation_id, run.ring.batch_id, part)
    customer = run.messages[-1].customer
    answers = tuple(message.message_id for message in run.messages)
    # Recorded before it leaves: who dies in between leaves a doubt, never a second copy.
    leave = store.depart(run, part, account.ambiguous)
    if leave == STOPPED:
        raise ChannelStoppedError("account_stopped")
    if leave != GO:
        return False
    provider_id = account.channel.send(Outbound(customer, run.parts[part], str(tag), answers))
    store.left(tag, provider_id)
    log.info("reply.part_sent", extra=about(run) | {"part": part})
    return True


def _cleared(store: Store, accounts: Accounts, run: Run) -> Account | None:
    """Return the account that may answer the run; None where the run ends here instead."""
    if len(run.messages) < run.count:
        bury(store, run.ring, run.token, run.account_id, Reason.VANISHED, "content_missing")
    elif run.taken_over:
        if store.finish(run, suppressed=Reason.TAKEOVER):
            log.info("batch.suppressed", extra=about(run) | {"reason": Reason.TAKEOVER})
    elif run.age_ms > run.limits.reply_deadline_ms:
        bury(store, run.ring, run.token, run.account_id, Reason.DEADLINE, "reply_deadline")
    else:
        account = accounts.get(run.account_id)
        if account:
            return account
        log.error("account.unknown", extra=about(run))
        store.fail(run.ring, run.token, "park", store.pace.park_ms, "account_unknown")
    return None


def _kept(store: Store, run: Run, keep: Keeper) -> AbstractContextManager[None]:
    return keep(lambda: store.extend(run), run.limits.lease_ms)


def _rings_for(store: Store, reaped: Reaped) -> list[Ring]:
    """Do what is to be done about a batch whose lease ran out; return the doorbells it needs."""
    ring, token, account_id = reaped.ring, reaped.token, reaped.account_id
    if reaped.verdict is Verdict.RING:
        return [ring]
    if reaped.verdict is Verdict.VANISHED:
        salvage(store, ring.conversation_id)
    elif reaped.verdict is Verdict.AMBIGUOUS:
        log.warning("batch.ambiguous", extra=named(ring, account_id))
    elif reaped.verdict is Verdict.SPENT:
        bury(store, ring, token, account_id, Reason.POISON, "worker_died")
    elif reaped.policy != "resend" or store.fail(ring, token, "retry", 0) == SPENT:
        bury(store, ring, token, account_id, Reason.AMBIGUOUS, "no_status")
    return []


def _rung(doorbell: Doorbell, ring: Ring) -> bool:
    try:
        doorbell.ring(ring)
    except TransientError as error:
        # The broker only carries wake-ups: the ledger rings again when the lease runs out.
        log.warning("doorbell.lost", extra=named(ring, "") | {"code": error.code})
        return False
    return True
