"""The story of a message: received, collected, answered, sent.

``receive`` is called by the web, ``flush``, ``generate`` and ``send`` by the workers. They take the
store and the ports from outside and have no side effects besides, so a simulation drives the very
same code. A step that is lost, repeated or late is harmless: the ledger knows what has been done,
and a wake-up only says where to look.
"""

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from batching.errors import (
    AmbiguousError,
    BudgetSpentError,
    ChannelStoppedError,
    LedgerUnavailableError,
    PermanentError,
    TransientError,
)
from batching.keys import Shard
from batching.model import (
    SILENT_KINDS,
    Budget,
    DeliveryStatus,
    Event,
    Exchange,
    ForeignMessage,
    InboundMessage,
    Limits,
    Notice,
    Outbound,
    Reaped,
    Reason,
    Receipt,
    Run,
    Stage,
    Status,
    Tag,
    Verdict,
    WakeUp,
)
from batching.ports import Account, Accounts, LeaseRenewer, Queue
from batching.store import (
    DONE,
    GO,
    SPENT,
    STOPPED,
    Call,
    Door,
    Setback,
    Store,
    reached,
    receipt,
    run,
)

_FIRST_MS = 1_000
_MOST_MS = 300_000


def backoff_ms(attempt: int, batch_id: str, *, least_ms: int | None = None) -> int:
    """Return the wait after failed ``attempt`` (1, 2, ...): 1, 4, 16 ... s, at most 5 minutes.

    Four is the base that Meta asks for between messages to one customer (error 131056). Up to a
    quarter is added, drawn from the batch's id, so that neighbours do not come back together.
    ``least_ms`` is what the other side asked for; it is obeyed up to an hour.
    """
    wait_ms: int = min(_FIRST_MS * 4 ** (attempt - 1), _MOST_MS)
    wait_ms += wait_ms * (zlib.crc32(batch_id.encode()) % 250) // 1000
    return max(wait_ms, min(least_ms or 0, 3_600_000))


log = logging.getLogger(__name__)


@contextmanager
def settling(store: Store, run: Run, *, fatal: Reason) -> Iterator[None]:
    """Turn what a run raises into the batch's next state, so that no failure is the end of it."""
    try:
        yield
    except LedgerUnavailableError:
        # Nothing can be recorded now; the lease brings the batch back.
        raise
    except ChannelStoppedError as error:
        if store.stop(run, error.code):
            told = about(run) | {"code": error.code}
            log.error("channel.stopped", extra=told)  # noqa: TRY400 - the code says it all
        _set_back(store, run, "park", store.timing.park_ms, fatal, error.code)
    except BudgetSpentError as error:
        wait_ms = error.retry_after_ms or store.timing.park_ms
        _set_back(store, run, "park", wait_ms, fatal, error.code)
    except AmbiguousError as error:
        _set_back(store, run, "ambiguous", store.timing.ambiguous_ms, fatal, error.code)
    except TransientError as error:
        wake_up = run.wake_up
        wait_ms = backoff_ms(wake_up.attempt, wake_up.batch_id, least_ms=error.retry_after_ms)
        _set_back(store, run, "retry", wait_ms, fatal, error.code)
    except PermanentError as error:
        dead_letter(store, run.wake_up, run.token, run.account_id, fatal, error.code)
    except Exception as error:
        # A fault of ours. A part may be out already: "ambiguous" retries only if none is.
        log.exception("batch.crashed", extra=about(run))
        code = type(error).__name__
        _set_back(store, run, "ambiguous", store.timing.ambiguous_ms, Reason.POISON, code)


def _set_back(
    store: Store, run: Run, verdict: Setback, wait_ms: int, fatal: Reason, code: str
) -> None:
    """Let the batch wait for its next attempt; dead_letter it where there is none left."""
    outcome = store.fail(run.wake_up, run.token, verdict, wait_ms, code)
    if outcome == SPENT:
        dead_letter(store, run.wake_up, run.token, run.account_id, fatal, code)
    elif outcome == DONE:
        told = {"verdict": verdict, "code": code, "wait_ms": wait_ms}
        log.warning("batch.retried", extra=about(run) | told)


def dead_letter(
    store: Store, wake_up: WakeUp, token: str, account_id: str, reason: Reason, detail: str
) -> None:
    """Give the batch to a person: a dead letter and one alert, in one step."""
    counts = store.dead_letter(wake_up, token, reason, detail)
    if counts:
        told = {"reason": reason, "detail": detail, "kept": counts[0], "lost": counts[1]}
        log.error("batch.dropped", extra=named(wake_up, account_id) | told)


def recover_orphan(store: Store, conversation_id: str) -> None:
    """Give what is left of a batch that vanished to a person, and tell that it did."""
    for batch_id, detail, kept in store.recover_orphan(conversation_id):
        told = {"conversation": conversation_id, "batch": batch_id, "kept": kept, "lost": 0}
        log.error("batch.dropped", extra=told | {"reason": Reason.VANISHED, "detail": detail})


def about(run: Run) -> dict[str, object]:
    """Return the log fields of a run."""
    return named(run.wake_up, run.account_id) | {"batch_size": run.count}


def named(wake_up: WakeUp, account_id: str) -> dict[str, object]:
    """Return the log fields that name a batch."""
    return {
        "account": account_id,
        "conversation": wake_up.conversation_id,
        "batch": wake_up.batch_id,
        "stage": wake_up.stage,
        "attempt": wake_up.attempt,
    }


#: In place of an account: all of them.
_ALL = "*"


def spend(store: Store, held: Run, budget: Budget | None) -> None:
    """Count the question that the run is about to ask; None has no budget. Safe to run twice.

    Raise BudgetSpentError where it may not be asked; a person is told, once an hour.
    """
    if budget is None:
        return
    conversation_id, account_id = held.wake_up.conversation_id, held.account_id
    s = _home(store)
    keys = (
        s.spent(conversation_id), s.spent(account_id), s.spent(_ALL),
        s.told(account_id, "budget_conversation"), s.told(account_id, "budget_account"),
        s.told(_ALL, "budget_installation"), s.told(_ALL, "model_off"),
        s.model_off, s.alerts, s.stats,
    )  # fmt: skip
    most = (budget.conversation_hour, budget.account_day, budget.installation_day)
    args = (conversation_id, account_id, held.token, *most)
    granted, left_ms, why, told = run(store.client, store.timed("spend", keys, args))
    if granted:
        return
    code, park_ms = why.decode(), store.timing.park_ms
    if told:
        log.error("budget.spent", extra=about(held) | {"code": code})
    # Looked at again soon, for a person may have raised the budget or switched the model on.
    raise BudgetSpentError(code, retry_after_ms=park_ms if left_ms < 0 else min(left_ms, park_ms))


def switch_model(store: Store, *, on: bool) -> None:
    """Let questions be asked from now on, or none; what waits is kept. Safe to run twice."""
    with reached():
        if on:
            store.client.delete(_home(store).model_off)
        else:
            store.client.set(_home(store).model_off, 1)


def model_is_on(store: Store) -> bool:
    """Return whether questions may be asked."""
    with reached():
        return not store.client.exists(_home(store).model_off)


def asked(store: Store) -> int:
    """Return how many questions the installation asked in its day, which begins with the first."""
    with reached():
        count: Any = store.client.hget(_home(store).spent(_ALL), "count")
    return int(count or 0)


def _home(store: Store) -> Shard:
    return store.keyring.shards[0]


#: States by which a provider says that it has the message.
_WITH_PROVIDER = frozenset({"sent", "delivered", "read", "played"})
#: Authors that answer the customer in our stead; others are only reported.
_TAKES_OVER = frozenset({"person", "meta_agent"})
_OURS, _BEGAN = 0, 2


def take(
    store: Store, events: Sequence[Event], limits_of: Callable[[str], Limits]
) -> list[Receipt]:
    """Bring events into the ledger in one round trip; return a receipt for each message."""
    door = Door(store)
    personal = [event for event in events if isinstance(event, InboundMessage | ForeignMessage)]
    owners = iter(door.owners(personal))
    tags = iter(door.tags([event for event in events if isinstance(event, DeliveryStatus)]))
    planned: list[tuple[Event, str, Call]] = []
    for event in events:
        match event:
            case InboundMessage():
                owner = next(owners)
                planned += [
                    (event, owner, call) for call in _message(door, event, owner, limits_of)
                ]
            case DeliveryStatus():
                planned += [(event, "", call) for call in _status(door, event, next(tags))]
            case ForeignMessage():
                owner = next(owners)
                planned.append((event, owner, _foreign(door, event, owner)))
            case Notice():
                about = {"account": event.account_id, "notice": event.name}
                log.info("provider.noticed", extra=about)
    answers = door.post([call for _, _, call in planned])
    receipts = []
    for (event, owner, call), answer in zip(planned, answers, strict=True):
        if isinstance(event, InboundMessage) and call.verb in ("append", "suppress"):
            receipts.append(receipt(owner, call, answer))
            _report_message(event, receipts[-1])
        else:
            _report(event, owner, call, answer)
    return receipts


def _message(
    door: Door, message: InboundMessage, owner: str, limits_of: Callable[[str], Limits]
) -> list[Call]:
    links = [door.link(owner, message, alias) for alias in message.aliases]
    if message.kind in SILENT_KINDS:
        return [*links, door.suppress(owner, message)]
    return [*links, door.append(owner, message, limits_of(message.account_id))]


def _status(door: Door, status: DeliveryStatus, tag: Tag | None) -> list[Call]:
    if tag is None:
        return []
    if status.state in _WITH_PROVIDER:
        return [door.left(tag, status.provider_id)]
    if status.state == "failed":
        return [door.undelivered(status.account_id, tag, status.provider_id, status.code)]
    return []


def _foreign(door: Door, event: ForeignMessage, owner: str) -> Call:
    pause = event.author in _TAKES_OVER
    return door.foreign(owner, event.account_id, event.provider_id, event.author, pause=pause)


def _report(event: Event, owner: str, call: Call, answer: Any) -> None:  # noqa: ANN401
    match event:
        case InboundMessage() if not answer:
            # The only other call of a message is that of a second id.
            about = {"account": event.account_id, "conversation": owner}
            log.error("alias.conflicted", extra=about)
        case DeliveryStatus() if call.verb == "undelivered" and answer:
            log.error("reply.undelivered", extra={"account": event.account_id, "code": event.code})
        case ForeignMessage() if answer != _OURS:
            about = {"account": event.account_id, "conversation": owner, "author": event.author}
            log.warning("reply.foreign", extra=about)
            if answer == _BEGAN:
                log.info("takeover.started", extra=about)


def _report_message(message: InboundMessage, got: Receipt) -> None:
    fields = {
        "account": message.account_id,
        "conversation": got.conversation_id,
        "batch": got.batch_id,
        "kind": message.kind,
        "status": got.status,
        "count": got.count,
        "flusher_lag_ms": got.flusher_lag_ms,
    }
    log.log(logging.WARNING if got.status is Status.FULL else logging.INFO,
            "message.appended", extra=fields)  # fmt: skip


def receive(
    store: Store, events: Sequence[Event], limits_of: Callable[[str], Limits]
) -> list[Receipt]:
    """Bring a webhook's events into the ledger; a receipt for each message, in order.

    Raise LedgerUnavailableError: then nothing may be acknowledged, and all may be given again.
    """
    return take(store, events, limits_of)


def flush(store: Store, queue: Queue, *, limit: int = 100) -> int:
    """Put due batches in flight, see to expired leases, ring for both; return how many.

    Raise LedgerUnavailableError after all shards were looked at, if one could not be.
    """
    wake_ups: list[WakeUp] = []
    troubles = []
    for shard in store.keyring.all_shards:
        try:
            _flush_shard(store, shard, wake_ups, limit=limit)
        except LedgerUnavailableError as error:
            troubles.append(error)
    for wake_up in wake_ups:
        if not _enqueue(queue, wake_up):
            # A broker that is away costs one time-out, not one a batch: their leases ring again.
            break
    if troubles:
        raise troubles[0]
    return len(wake_ups)


def _flush_shard(store: Store, shard: Shard, wake_ups: list[WakeUp], *, limit: int) -> None:
    """Add to ``rings`` what one shard needs; what is added is in flight, whatever fails then."""
    vanished: list[str] = []
    for batch in store.collect(shard, limit=limit):
        if not batch.batch_id:
            vanished.append(batch.conversation_id)
            continue
        about_batch = named(batch.wake_up, batch.account_id)
        told = {"batch_size": batch.count, "waited_ms": batch.waited_ms, "why": batch.why}
        log.info("batch.collected", extra=about_batch | told)
        wake_ups.append(batch.wake_up)
    for reaped in store.reap(shard, limit=limit):
        wake_ups += _rings_for(store, reaped)
    for late in store.overdue(shard, limit=limit):
        told = {"account": late.account_id, "conversation": late.conversation_id}
        log.error("batch.overdue", extra=told | {"batch": late.batch_id})
    for conversation_id in vanished:
        recover_orphan(store, conversation_id)


def generate(
    store: Store, accounts: Accounts, queue: Queue, wake_up: WakeUp, *, keep: LeaseRenewer
) -> None:
    """Ask the model once for the batch, keep the reply, ring for the sending of it."""
    run = store.begin(wake_up)
    if run is None:
        return
    with settling(store, run, fatal=Reason.FATAL_MODEL), _kept(store, run, keep):
        account = _cleared(store, accounts, run)
        if account is None:
            return
        history = store.history(wake_up.conversation_id)
        spend(store, run, account.budget)
        answer = account.model.answer(history, run.turn, now_ms=run.now_ms)
        parts = account.channel.split(answer)
        # The reply is kept before it is sent: a retry must not ask the model twice.
        if store.checkpoint(run, parts, Exchange(customer=run.turn, answer=answer)):
            log.info("reply.generated", extra=about(run) | {"parts": len(parts)})
            _enqueue(queue, WakeUp(wake_up.conversation_id, wake_up.batch_id, 1, Stage.SEND))


def send(store: Store, accounts: Accounts, wake_up: WakeUp, *, keep: LeaseRenewer) -> None:
    """Send the parts of the reply that have not left yet; then the batch is answered."""
    run = store.begin(wake_up)
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
    tag = Tag(run.wake_up.conversation_id, run.wake_up.batch_id, part)
    customer = run.messages[-1].customer
    answers = tuple(message.message_id for message in run.messages)
    # Recorded before it leaves: who dies in between leaves a doubt, never a second copy.
    leave = store.mark_sending(run, part, account.ambiguous)
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
        dead_letter(
            store, run.wake_up, run.token, run.account_id, Reason.VANISHED, "content_missing"
        )
    elif run.taken_over:
        if store.finish(run, suppressed=Reason.TAKEOVER):
            log.info("batch.suppressed", extra=about(run) | {"reason": Reason.TAKEOVER})
    elif run.age_ms > run.limits.reply_deadline_ms:
        dead_letter(
            store, run.wake_up, run.token, run.account_id, Reason.DEADLINE, "reply_deadline"
        )
    else:
        account = accounts.get(run.account_id)
        if account:
            return account
        log.error("account.unknown", extra=about(run))
        store.fail(run.wake_up, run.token, "park", store.timing.park_ms, "account_unknown")
    return None


def _kept(store: Store, run: Run, keep: LeaseRenewer) -> AbstractContextManager[None]:
    return keep(lambda: store.extend(run), run.limits.lease_ms)


def _rings_for(store: Store, reaped: Reaped) -> list[WakeUp]:
    """Do what is to be done about a batch whose lease ran out; return the wake-ups it needs."""
    wake_up, token, account_id = reaped.wake_up, reaped.token, reaped.account_id
    if reaped.verdict is Verdict.RING:
        return [wake_up]
    if reaped.verdict is Verdict.VANISHED:
        recover_orphan(store, wake_up.conversation_id)
    elif reaped.verdict is Verdict.AMBIGUOUS:
        log.warning("batch.ambiguous", extra=named(wake_up, account_id))
    elif reaped.verdict is Verdict.SPENT:
        dead_letter(store, wake_up, token, account_id, Reason.POISON, "worker_died")
    elif reaped.policy != "resend" or store.fail(wake_up, token, "retry", 0) == SPENT:
        dead_letter(store, wake_up, token, account_id, Reason.AMBIGUOUS, "no_status")
    return []


def _enqueue(queue: Queue, wake_up: WakeUp) -> bool:
    try:
        queue.enqueue(wake_up)
    except TransientError as error:
        # The broker only carries wake-ups: the ledger rings again when the lease runs out.
        log.warning("doorbell.lost", extra=named(wake_up, "") | {"code": error.code})
        return False
    return True
