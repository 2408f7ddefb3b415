"""The four steps of a message: receive, flush, generate, send.

``receive`` is called by the web, ``flush``, ``generate`` and ``send`` by the workers. They take the
store and the ports as arguments and have no other side effects, so a simulation runs the very same
code. A step that is lost, repeated or late is harmless: the ledger knows what has been done, and a
wake-up only says where to look.

First the four steps, then what each failure becomes, then the helpers.
"""

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from batching import identity
from batching.amend import amended, revised
from batching.errors import (
    AmbiguousError,
    BudgetSpentError,
    CircuitOpenError,
    LedgerUnavailableError,
    ModelStoppedError,
    PermanentError,
    StoppedError,
    SupersededError,
    TransientError,
    UnusableAnswerError,
)
from batching.figures import WHOLE
from batching.keys import Keyring
from batching.model import (
    CLOSING,
    MODELS,
    WITH_CUSTOMER,
    Answer,
    Budget,
    Collected,
    DeliveryStatus,
    Dependency,
    Event,
    Exchange,
    Expiry,
    ForeignMessage,
    Gravity,
    Handover,
    IdentityChange,
    InboundMessage,
    Kept,
    Kind,
    Limits,
    Notice,
    NotUnderstood,
    Outbound,
    Overdue,
    Reaped,
    Reason,
    Receipt,
    Reception,
    Run,
    Stage,
    Status,
    Stopped,
    Tag,
    WakeUp,
    decode_all,
    in_order,
)
from batching.ports import Account, Accounts, Desk, LeaseRenewer, Model, Pause, Queue
from batching.store import (
    DONE,
    GO,
    GREETING,
    HANDED_OVER,
    OURS,
    PROBE,
    SPENT,
    SUPERSEDED,
    TAKEOVER_BEGINS,
    TAKEOVER_GOES_ON,
    Held,
    Outcome,
    Persistent,
    Pipeline,
    Scripts,
    Store,
)
from batching.window import closes, pause_after, rule_of

log = logging.getLogger(__name__)

#: An event that a call was queued for, and its conversation, "" where there is none.
_Queued = tuple[Event | Stopped, str]

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
#: How long before the reply deadline an apology is sent instead, ms; a tenth of it at most.
_APOLOGY_MS = 600_000
#: How often a conversation is read again because it changed under the hand.
AMENDS_MAX = 10
#: States by which a provider says that it has the message.
_WITH_PROVIDER = WITH_CUSTOMER | {"sent"}
#: What becomes of a message whose conversation is not the customer's, or not any more.
_ASTRAY = frozenset({Status.MOVED, Status.UNLINKED})
#: Authors whose message pauses our answers; messages of others only raise an alert.
_TAKES_OVER = frozenset({"person", "meta_agent"})


def receive(
    store: Store,
    events: Sequence[Event],
    limits_of: Callable[[str], Limits],
    reception_of: Callable[[str], Reception] = lambda _: Reception(),
) -> list[Receipt]:
    """Bring a webhook's events into the ledger; return a receipt for each message, in order.

    One round trip, and one more each to look up second ids and failures without our tag, and for
    conversations that are full; a few the first time that ids come together. Each message is
    taken or refused by itself. Raise LedgerUnavailableError: then all is to be delivered again.
    """
    events = [_recognised(event, reception_of(event.account_id)) for event in events]
    owners = iter(_owners(store, events))
    tags = iter(store.tags([event for event in events if isinstance(event, DeliveryStatus)]))
    round_trip = store.pipeline(durable=True)
    queued: list[_Queued] = []
    for event in events:
        match event:
            case InboundMessage():
                owner = next(owners)
                limits = limits_of(event.account_id)
                queued += _take_in(round_trip, owner, event, limits, reception_of(event.account_id))
            case ForeignMessage():
                owner = next(owners)
                round_trip.foreign(owner, event, pause=event.author in _TAKES_OVER)
                queued.append((event, owner))
            case DeliveryStatus():
                queued += _take_status(round_trip, event, next(tags))
            case NotUnderstood():
                _alert_unread(round_trip, event)
                queued.append((event, ""))
            case Notice():
                queued += _take_notice(round_trip, event)
    queued, taken = _rehomed(store, queued, round_trip.execute(), limits_of, reception_of)
    values = _end_redeliveries(store, queued, taken)
    for (what, owner), value in zip(queued, values, strict=True):
        _conclude(store, what, owner, value)
    return [value for value in values if isinstance(value, Receipt)]


def flush(store: Store, queue: Queue, *, limit: int = 100) -> int:
    """Put due batches in flight, handle expired leases, wake workers for both; return how many.

    Two round trips whatever the number of shards: one that says which have something to do, one
    that does it; and one or two for each batch that vanished or ends here. Raise
    LedgerUnavailableError at the end if some shard could not be served.
    """
    began_ms = _clock_ms()
    watch, shards, round_trip = store.watch(), store.keyring.all_shards, store.pipeline()
    handlers: list[Callable[[Store, Any, list[WakeUp]], None]] = []
    steps: Sequence[tuple[Sequence[int], Callable[..., object], Any]] = (
        (watch.to_collect, round_trip.collect, _handle_collected),
        (watch.to_reap, round_trip.reap, _handle_reaped),
        (watch.to_remind, round_trip.remind, _handle_reminded),
    )
    for numbers, step, handle in steps:
        for number in numbers:
            step(shards[number], limit=limit)
            handlers.append(handle)
    # Added as soon as a batch is in flight, so that an error below does not lose its wake-up.
    wake_ups: list[WakeUp] = []
    errors = []
    values = round_trip.execute(raise_on_error=False)
    for handle, value in zip(handlers, values, strict=True):
        try:
            if isinstance(value, LedgerUnavailableError):
                raise value
            handle(store, value, wake_ups)
        except LedgerUnavailableError as error:
            errors.append(error)
    for wake_up in wake_ups:
        if not _enqueue(queue, wake_up):
            # A broker that is away costs one time-out, not one a batch: their leases run out.
            break
    for wake_up in wake_ups:
        store.figures.traces.past("flush", wake_up.batch, ms=_clock_ms() - began_ms)
    if errors:
        raise errors[0]
    return len(wake_ups)


def raise_overdue(store: Store, *, limit: int = 100) -> None:
    """Alert a person of batches that wait too long, where no flush does it: a worker is to live.

    Raise LedgerUnavailableError.
    """
    shards = store.keyring.all_shards
    for number in store.watch().to_reap:
        _log_overdue(store.overdue(shards[number], limit=limit))


def generate(
    store: Store,
    accounts: Accounts,
    queue: Queue,
    wake_up: WakeUp,
    *,
    renew_lease: LeaseRenewer,
    pause: Pause = lambda _ms: False,
) -> None:
    """Ask the model once for the batch, keep the reply, wake a worker to send it."""
    run = store.begin(wake_up)
    if run is None:
        return
    steps = _persistent(store, run, pause)
    ending = _Ending(steps, run, Reason.FATAL_MODEL, queue)
    with _failure_becomes_state(ending), _lease_renewed(store, run, renew_lease):
        # First of all, for whatever ends the batch here: what was deleted is to be gone.
        if run.moved or any(message.amends for message in run.messages):
            run, _ = _amended(store, run)
        account = _account_that_may_answer(steps, accounts, run)
        if account is None:
            return
        ending.apology = account.apology
        began_ms = _clock_ms()
        run, answer = _ask(store, steps, account, run)
        took_ms = _clock_ms() - began_ms
        if run.is_withdrawn:
            _suppress(steps, run, Kind.DELETED)
        elif _keep(steps, account, run, answer, took_ms):
            _enqueue(queue, _to_send(wake_up))


def send(
    store: Store,
    accounts: Accounts,
    wake_up: WakeUp,
    *,
    renew_lease: LeaseRenewer,
    pause: Pause = lambda _ms: False,
) -> None:
    """Send the parts of the reply that were not sent yet; then the batch is answered."""
    began_ms = _clock_ms()
    run = store.begin(wake_up)
    if run is None:
        return
    steps = _persistent(store, run, pause)
    ending = _Ending(steps, run, Reason.FATAL_PROVIDER)
    with _failure_becomes_state(ending), _lease_renewed(store, run, renew_lease):
        # With all parts out, only the end is to be recorded: whatever else holds by now.
        if run.part < len(run.parts):
            account = _account_that_may_answer(steps, accounts, run)
            if account is None:
                return
            for part in range(run.part, len(run.parts)):
                if not _send_part(steps, account, run, part):
                    return
        if run.apology:
            reason, detail = run.apology
            dead_letter(steps, run, Reason(reason), f"{detail}; apology sent")
        elif run.is_notice:
            if steps.finish(run):
                log.info("handover.apology_sent", extra=_about(run))
        elif steps.finish(run):
            log.info("batch.answered", extra=_about(run) | {"waited_ms": run.age_ms})
            took_ms = run.age_ms + _clock_ms() - began_ms
            store.figures.timed("end_to_end", run.account_id, ms=took_ms)
            _trace_whole(store, run, "answered")
            _note_sent(store, run)


# A run's steps, and what each failure becomes.

#: Between two tries to record a step, ms: the first pause, and the longest.
PAUSE_MS, PAUSE_MS_MAX = 50, 200
#: How often a step is tried while the ledger is away: for a quarter of an hour at least. Nobody
#: else can take the batch meanwhile; what was sent, or answered by a model, is known here alone.
TRIES_MAX = 4_500


def _persistent(store: Store, run: Run, pause: Pause) -> Scripts:
    """Return the steps of a run, each tried until the ledger has it: else its truth is lost.

    A part that left would be in doubt, and an answer would be asked and paid for again. What is not
    this run's any more the ledger refuses by its token.
    """

    def again(verb: str, tries: int, error: LedgerUnavailableError) -> bool:
        if tries < TRIES_MAX and pause(min(PAUSE_MS * 2 ** min(tries - 1, 10), PAUSE_MS_MAX)):
            return True
        # All that is left to do: whoever finds the batch in doubt finds here what became of it.
        log.error("step.unrecorded", extra=_about(run) | {"step": verb, "code": error.code})
        return False

    return Persistent(store, again)


@dataclass(slots=True)
class _Ending:
    """How a run ends that fails.

    ``fatal``: why the batch is dead if the failure is permanent, or no attempt is left.
    ``apology``: what its customer is sent first, "" for no word.
    """

    store: Scripts
    run: Run
    fatal: Reason
    queue: Queue | None = None
    apology: str = ""

    def set_back(
        self, outcome: Outcome, wait_ms: int, code: str, fatal: Reason | None = None
    ) -> None:
        """Let the batch wait for its next attempt; give it up where there is none left."""
        run, limits = self.run, self.run.limits
        until_ms = limits.reply_deadline_ms - min(_APOLOGY_MS, limits.reply_deadline_ms // 10)
        if self.apology and run.now_ms - run.heard_ms + wait_ms > until_ms:
            self.give_up(Reason.DEADLINE, code)
            return
        result = self.store.fail(run, outcome, wait_ms, code)
        if result == SPENT:
            self.give_up(fatal or self.fatal, code)
        elif result == DONE:
            fields = {"outcome": outcome, "code": code, "wait_ms": wait_ms}
            log.warning("batch.retried", extra=_about(run) | fields)
            self.store.figures.count("retries", code)

    def put_back(self, *, draft: bool) -> None:
        """Put the batch back in front of what its customer wrote since."""
        times = self.store.supersede(self.run, draft=draft)
        if times:
            fields = {"times": times, "draft": draft, "waited_ms": self.run.age_ms}
            log.info("batch.superseded", extra=_about(self.run) | fields)
        else:
            # What was written since is gone again: erased, or taken back under another id.
            self.set_back("defer", 0, "superseded")

    def give_up(self, reason: Reason, code: str) -> None:
        """Make the batch a dead letter, after an apology where the account has one."""
        if self.run.apology:
            reason, detail = Reason(self.run.apology[0]), self.run.apology[1]
            code = f"{detail}; apology not sent: {code}"
        if not (self.apology and self.queue):
            dead_letter(self.store, self.run, reason, code)
            return
        parts = [self.apology]
        exchange = self.store.exchange(self.run, self.apology, parts)
        if self.store.checkpoint(self.run, parts, exchange, apology=(reason, code)):
            log.warning("apology.prepared", extra=_about(self.run) | {"code": code})
            _enqueue(self.queue, _to_send(self.run.wake_up))


@contextmanager
def _failure_becomes_state(ending: _Ending) -> Iterator[None]:
    """Map a run's exception to retry, defer, outage, ambiguous, put back or dead letter.

    Raise only LedgerUnavailableError: nothing can be recorded now, and the lease brings the batch
    back.
    """
    run, timing = ending.run, ending.store.timing
    batch_id, defer_ms, status_ms = run.wake_up.batch_id, timing.defer_ms, timing.ambiguous_ms
    try:
        yield
    except LedgerUnavailableError:
        raise
    except SupersededError as error:
        ending.put_back(draft=error.draft)
    except (BudgetSpentError, CircuitOpenError, StoppedError) as error:
        ending.set_back("defer", error.retry_after_ms or defer_ms, error.code)
    except AmbiguousError as error:
        ending.set_back("ambiguous", status_ms, error.code)
    except UnusableAnswerError as error:
        # Soon: the customer may have caused it, and then a person is to know of it.
        ending.set_back("unusable", backoff_ms(1, batch_id), error.code)
    except TransientError as error:
        # Until the reply deadline: the batch is not to blame for what the provider lacks.
        wait_ms = backoff_ms(run.tries + 1, batch_id, least_ms=error.retry_after_ms)
        ending.set_back("outage", wait_ms, error.code)
    except PermanentError as error:
        ending.give_up(ending.fatal, error.code)
    except Exception as error:
        # Our own bug. A part may have been sent already: "ambiguous" retries only if none was.
        log.exception("batch.crashed", extra=_about(run))
        ending.set_back("ambiguous", status_ms, type(error).__name__, Reason.POISON)


def backoff_ms(attempt: int, batch_id: str, *, least_ms: int | None = None) -> int:
    """Return the wait after failure number ``attempt`` (1, 2, ...): 1, 4, 16 ... s, at most 5 min.

    Four is the base that Meta asks for between messages to one customer (error 131056). Up to a
    quarter is added, drawn from the batch's id, so that neighbours do not come back together.
    ``least_ms`` is what the other side asked for; it is obeyed up to an hour.
    """
    wait_ms: int = min(1_000 * 4 ** min(attempt - 1, 9), 300_000)
    wait_ms += wait_ms * _spread(batch_id) // 1000
    return max(wait_ms, min(least_ms or 0, 3_600_000))


def _spread(batch_id: str) -> int:
    """Return 0..249, in thousandths, drawn from the batch's id."""
    return zlib.crc32(batch_id.encode()) % 250


def dead_letter(store: Scripts, batch: Held, reason: Reason, detail: str) -> None:
    """Give the batch to a person: a dead letter and one alert, in one step."""
    counts = store.dead_letter(batch, reason, detail)
    if counts:
        fields = {"reason": reason, "detail": detail, "kept": counts[0], "lost": counts[1]}
        log.error("batch.dropped", extra=_names(batch.wake_up, batch.account_id) | fields)
        _trace_whole(store, batch, "dead", reason)


def recover_orphan(store: Store, conversation_id: str) -> None:
    """Give what is left of a batch that vanished to a person."""
    for batch_id, detail, kept in store.recover_orphan(conversation_id):
        fields = {"conversation": conversation_id, "batch": batch_id, "kept": kept, "lost": 0}
        log.error("batch.dropped", extra=fields | {"reason": Reason.VANISHED, "detail": detail})


# Helpers of receive.


def _owners(store: Store, events: Sequence[Event]) -> list[str]:
    """Return the conversation of each message, as far as it is known before ``append``.

    Before that follow customers whose ids changed; join ids under which one message came twice.
    """
    for event in events:
        if isinstance(event, IdentityChange):
            identity.follow(store, event)
    told = [it for it in events if isinstance(it, InboundMessage | ForeignMessage)]
    owners, twins = store.owners(told)
    for n, other in twins.items():
        ids = (told[n].customer, *getattr(told[n], "aliases", ()))
        owners[n] = identity.unite(store, told[n].account_id, ids, other=other)
    return owners


def _recognised(event: Event, reception: Reception) -> Event:
    """Return the event; only a notice for what the business's app sends by itself."""
    if isinstance(event, ForeignMessage) and reception.is_automatic(event.text):
        return Notice(event.account_id, "automatic_text")
    return event


def _silence(message: InboundMessage, reception: Reception) -> str:
    """Return why a message asks for no answer, "" if it asks for one."""
    is_call = message.kind is Kind.CALL and reception.on_call != "answer"
    if is_call or message.is_silent:
        return message.kind
    if reception.closing == "answer":
        return ""
    return CLOSING if closes(message.kind, rule_of(message, reception.language)) else ""


def _pause(message: InboundMessage, limits: Limits, reception: Reception) -> str:
    """Return how long to wait for more after a message, "" for as long as the limits say."""
    is_fixed = reception.window == "fixed"
    return "" if is_fixed else pause_after(message, reception.language, limits)


def _rehomed(
    store: Store,
    queued: Sequence[_Queued],
    values: list[Any],
    limits_of: Callable[[str], Limits],
    reception_of: Callable[[str], Reception],
) -> tuple[list[_Queued], list[Any]]:
    """Bring what came for a conversation that is not the customer's any more to the one that is."""
    astray = {}
    for n, ((event, _), value) in enumerate(zip(queued, values, strict=True)):
        is_taken = not isinstance(value, Receipt) or value.status not in _ASTRAY
        if is_taken or not isinstance(event, InboundMessage):
            continue
        limits, reception = limits_of(event.account_id), reception_of(event.account_id)
        pause = _pause(event, limits, reception)
        astray[n] = (event, limits, _silence(event, reception), pause)
    owners = identity.rehome(store, astray, values) if astray else {}
    return [(event, owners.get(n, owner)) for n, (event, owner) in enumerate(queued)], values


def _take_in(
    round_trip: Pipeline,
    owner: str,
    message: InboundMessage,
    limits: Limits,
    reception: Reception,
) -> list[_Queued]:
    """Queue what a message brings; return an entry for each call."""
    pause = _pause(message, limits, reception)
    round_trip.append(owner, message, limits, suppressed=_silence(message, reception), pause=pause)
    queued: list[_Queued] = [(message, owner)]
    is_call = message.kind is Kind.CALL
    account_id, about = message.account_id, f"{owner}:{message.message_id}"
    if message.kind is Kind.PAYMENT:
        round_trip.alert_once(
            "customer_paid", owner, account_id=account_id, cooldown_ms=_DAY_MS, about=about
        )
        queued.append((Notice(account_id, "customer_paid"), owner))
    elif is_call and reception.on_call == "alert":
        round_trip.alert_once(
            "customer_called", owner, account_id=account_id, cooldown_ms=_HOUR_MS, about=owner
        )
        queued.append((Notice(account_id, "customer_called"), owner))
    return queued


def _end_redeliveries(
    store: Store, queued: Sequence[_Queued], values: Sequence[Any]
) -> Sequence[Any]:
    """Return the values with OVERFLOW where a message found its conversation full for too long."""
    receipts = {n: it for n, it in enumerate(values) if isinstance(it, Receipt)}
    full = [n for n, receipt in receipts.items() if receipt.status is Status.FULL]
    round_trip = store.pipeline(durable=True)
    for n in full:
        event, owner = queued[n]
        round_trip.overflow(owner, event.account_id)
    ends = dict(zip(full, round_trip.execute(), strict=True))
    return [
        replace(value, status=Status.OVERFLOW) if ends.get(n) else value
        for n, value in enumerate(values)
    ]


def _take_status(round_trip: Pipeline, status: DeliveryStatus, tag: Tag | None) -> list[_Queued]:
    """Queue what a status of one of our parts says; return an entry for each call."""
    if tag is None:
        return []
    if status.state in _WITH_PROVIDER:
        round_trip.mark_sent(status.account_id, tag, status.provider_id)
        if status.state in WITH_CUSTOMER:
            round_trip.mark_delivered(status.account_id, tag, status.provider_id)
            return [(status, ""), (status, "")]
    elif status.state == "failed":
        round_trip.mark_failed(status.account_id, tag, status.provider_id, status.code)
        if status.stops:
            # As if the send had been refused: what waits is not asked of a model, and paid for.
            round_trip.open_circuit(status.account_id, Dependency.CHANNEL, status.code)
            return [(status, ""), (Stopped(status.account_id, status.code), "")]
    else:
        return []
    return [(status, "")]


def _take_notice(round_trip: Pipeline, notice: Notice) -> list[_Queued]:
    """Queue what a provider says of the account itself; return an entry for each call."""
    if notice.gravity is Gravity.QUIET:
        about = {"account": notice.account_id, "notice": notice.name}
        log.info("provider.noticed", extra=about)
        return []
    if notice.gravity is Gravity.WARNING or not notice.account_id:
        round_trip.alert_once(
            "channel_warning",
            notice.detail,
            account_id=notice.account_id,
            cooldown_ms=_DAY_MS,
            about=notice.name,
        )
    else:
        round_trip.note_channel(notice.account_id, notice.gravity, notice.detail)
    return [(notice, "")]


def _alert_unread(round_trip: Pipeline, event: NotUnderstood) -> None:
    """Queue the alert about what could not be read, once a day for each account and shape."""
    detail = f"{event.reason}; fields: {event.shape}" if event.shape else event.reason
    round_trip.alert_once(
        "not_understood",
        detail,
        account_id=event.account_id,
        cooldown_ms=_DAY_MS,
        about=detail,
    )


def _conclude(store: Store, what: Event | Stopped, owner: str, value: object) -> None:
    """Log what came of an event; a person's message also ends what waits under other ids."""
    if isinstance(what, ForeignMessage) and value in {TAKEOVER_BEGINS, TAKEOVER_GOES_ON}:
        store.end_handovers_of_kin(owner)
    _log_received(store.keyring, what, owner, value)


def _log_received(keyring: Keyring, event: Event | Stopped, owner: str, value: object) -> None:
    about = {"account": event.account_id, "conversation": owner}
    match event, value:
        case InboundMessage(), Receipt():
            fields = about | {
                "batch": value.batch_id,
                "message_id": keyring.message_name(event.account_id, event.message_id),
                "kind": event.kind,
                "status": value.status,
                "count": value.count,
                "flusher_lag_ms": value.flusher_lag_ms,
            }
            is_refused = value.status in {Status.FULL, Status.OVERFLOW}
            level = logging.WARNING if is_refused else logging.INFO
            log.log(level, "message.appended", extra=fields)
        case DeliveryStatus() | Stopped(), _:
            _log_status(keyring, event, value)
        case NotUnderstood(), bool():
            fields = {"reason": event.reason, "shape": event.shape}
            log.error("webhook.not_understood", extra={"account": event.account_id} | fields)
        case Notice(), bool():
            _log_notice(event, owner, is_news=value)
        case ForeignMessage(), int() if value != OURS:
            name = keyring.message_name(event.account_id, event.provider_id)
            log.warning("reply.foreign", extra=about | {"message_id": name, "author": event.author})
            if value == GREETING:
                log.info("takeover.awaited", extra=about | {"author": event.author})
            if value == TAKEOVER_BEGINS:
                log.info("takeover.started", extra=about | {"author": event.author})


def _log_notice(notice: Notice, owner: str, *, is_news: bool) -> None:
    about = {"account": notice.account_id, "notice": notice.name}
    if not is_news:
        log.info("provider.noticed", extra=about)
    elif notice.gravity is Gravity.QUIET:
        log.warning("customer.noticed", extra=about | {"conversation": owner})
    elif notice.gravity is Gravity.WELL:
        log.info("channel.recovered", extra=about)
    elif notice.gravity is Gravity.WARNING:
        log.warning("channel.warned", extra=about)
    else:
        log.error("channel.lost", extra=about)


def _log_status(keyring: Keyring, event: DeliveryStatus | Stopped, value: object) -> None:
    about = {"account": event.account_id}
    if isinstance(event, DeliveryStatus):
        about["message_id"] = keyring.message_name(event.account_id, event.provider_id)
    match event, value:
        case DeliveryStatus(), None:
            log.error("status.refused", extra=about)
        case DeliveryStatus(state="failed"), True:
            log.error("reply.undelivered", extra=about | {"code": event.code})
        case Stopped(), True:
            log_stopped(event.account_id, Dependency.CHANNEL, event.code)


# Helpers of flush.


def _handle_collected(store: Store, collected: list[Collected], wake_ups: list[WakeUp]) -> None:
    """Add the wake-ups of batches that were put in flight; recover what vanished."""
    for batch in collected:
        if batch.batch_id:
            fields = {"batch_size": batch.count, "waited_ms": batch.waited_ms, "why": batch.why}
            log.info("batch.collected", extra=_names(batch.wake_up, batch.account_id) | fields)
            store.figures.timed("wait", batch.account_id, ms=batch.waited_ms)
            store.figures.timed("quiet", batch.account_id, ms=batch.quiet_ms)
            _trace_wait(store, batch)
            wake_ups.append(batch.wake_up)
    for batch in collected:
        if not batch.batch_id:
            recover_orphan(store, batch.conversation_id)


def _trace_wait(store: Store, batch: Collected) -> None:
    """Keep how long a batch collected as a span."""
    store.figures.traces.past(
        "wait",
        batch.wake_up.batch,
        ms=batch.waited_ms,
        account=batch.account_id,
        why=batch.why,
        count=batch.count,
    )


def _handle_reminded(
    _store: Store, reminded: list[tuple[str, str, str, str, str]], wake_ups: list[WakeUp]
) -> None:
    """Add the wake-ups of what customers are told who wait for a person; log the rest."""
    for conversation_id, account_id, batch_id, apology_id, what in reminded:
        about = {"account": account_id, "conversation": conversation_id, "batch": batch_id}
        if apology_id:
            wake_ups.append(WakeUp(conversation_id, apology_id, 1, Stage.SEND))
        if what == "reminded":
            log.warning("handover.reminded", extra=about)
        elif what == "expired":
            log.error("handover.expired", extra=about)


def _handle_reaped(
    store: Store, value: tuple[list[Reaped], list[Overdue]], wake_ups: list[WakeUp]
) -> None:
    """Add the wake-ups of batches whose lease ran out; end those that have waited in vain."""
    reaped, overdue = value
    _log_overdue(overdue)
    wake_ups += [batch.wake_up for batch in reaped if batch.expiry is Expiry.WAKE_UP]
    for batch in reaped:
        match batch.expiry:
            case Expiry.VANISHED:
                recover_orphan(store, batch.wake_up.conversation_id)
            case Expiry.AMBIGUOUS:
                log.warning("batch.ambiguous", extra=_names(batch.wake_up, batch.account_id))
            # Perhaps no worker lived to do it; what was deleted is to be in no letter.
            case Expiry.SPENT if _is_carried_out(store, batch):
                dead_letter(store, batch, Reason.POISON, "worker_died")
            case Expiry.UNRESOLVED if not _resent(store, batch):
                dead_letter(store, batch, Reason.AMBIGUOUS, "no_status")


def _is_carried_out(store: Store, batch: Reaped) -> bool:
    """Carry out edits and deletions; False if that must wait: it is reaped again in a while."""
    try:
        _carry_out(store, batch)
    except LedgerUnavailableError:
        raise
    except TransientError as error:
        fields = {"outcome": "defer", "code": error.code, "wait_ms": store.timing.wake_up_ms}
        log.warning("batch.retried", extra=_names(batch.wake_up, batch.account_id) | fields)
        return False
    return True


def _log_overdue(overdue: Sequence[Overdue]) -> None:
    for late in overdue:
        about = {"account": late.account_id, "conversation": late.conversation_id}
        log.error("batch.overdue", extra=about | {"batch": late.batch_id})


def _resent(store: Store, batch: Reaped) -> bool:
    """Send an ambiguous part once more if the account's policy says so; whether it will be."""
    if batch.policy != "resend":
        return False
    return store.fail(batch, "retry", 0) != SPENT


def _enqueue(queue: Queue, wake_up: WakeUp) -> bool:
    try:
        queue.enqueue(wake_up)
    except TransientError as error:
        # The broker only carries wake-ups: the ledger sends another when the lease runs out.
        log.warning("doorbell.lost", extra=_names(wake_up, "") | {"code": error.code})
        return False
    return True


# Helpers of generate and send.


def _account_that_may_answer(store: Scripts, accounts: Accounts, run: Run) -> Account | None:
    """Return the account of the run; None where the run ends here instead.

    Raise SupersededError where it is not to go on, because the customer wrote again.
    """
    if len(run.messages) < run.count:
        dead_letter(store, run, Reason.VANISHED, "content_missing")
    elif run.is_withdrawn:
        _suppress(store, run, Kind.DELETED)
    elif run.taken_over:
        _suppress(store, run, Reason.TAKEOVER)
    elif run.superseded:
        raise SupersededError(draft=bool(run.parts))
    elif run.now_ms - run.heard_ms > run.limits.reply_deadline_ms:
        # By the provider's clock, as the provider counts: it may have been delivered days late.
        is_old = run.age_ms > run.limits.reply_deadline_ms
        dead_letter(store, run, Reason.DEADLINE, "reply_deadline" if is_old else "delivered_late")
    elif run.is_notice and not run.awaited:
        # Its person has come, or was told not to, in the meantime.
        _suppress(store, run, Reason.HANDOVER)
    else:
        account = accounts.get(run.account_id)
        if account and account.waiting.silent and run.is_behind and not run.is_notice:
            _suppress(store, run, Reason.HANDOVER)
            return None
        if account:
            return account
        log.error("account.unknown", extra=_about(run))
        store.fail(run, "defer", store.timing.defer_ms, "account_unknown")
    return None


def _suppress(store: Scripts, run: Run, reason: str) -> None:
    """End the batch as deliberately not answered; what waits for a person is history."""
    is_kept = reason == Reason.HANDOVER and not run.is_notice
    unanswered = store.exchange(run, "", []) if is_kept else None
    if store.finish(run, suppressed=reason, unanswered=unanswered):
        log.info("batch.suppressed", extra=_about(run) | {"reason": reason})
        _trace_whole(store, run, "suppressed")


def _amended(store: Store, run: Run) -> tuple[Run, list[Exchange]]:
    """Carry out the customer's edits and deletions; return what to ask the model, and the past.

    A run without messages, which can do nothing any more, if it is not the holder's. Raise
    TransientError where the conversation changes all the time.
    """
    digest_of, waiting = partial(store.keyring.digest, run.account_id), list[str]()
    for _ in range(AMENDS_MAX):
        kept = _carry_out(store, run, run.kin if waiting else None)
        if kept is None:
            return replace(run, messages=(), count=0), []
        kin, latest = _read_again(store, run, kept)
        # What waits elsewhere is carried out here by whoever is first.
        waiting = [raw for it in kin for raw in it.amendments]
        carried_out = {raw for it in (kept, *kept.kin.values()) for raw in it.amendments}
        if {*waiting, *latest.amendments} <= carried_out:
            break
    else:
        raise TransientError("conversation_busy")
    history = [it for each in (*kin, latest) for it in Exchange.decode_all(each.history)]
    history = revised(history, waiting, digest_of) if waiting else history
    arrived = decode_all(run.account_id, latest.flight)
    run = replace(run, messages=in_order(arrived, run.now_ms), count=latest.count)
    return run.quoting(history, digest_of), history


def _read_again(store: Store, run: Run, kept: Kept) -> tuple[list[Kept], Kept]:
    """Return what all conversations of the customer have now, in one round trip, and the run's own.

    What changes one of them between two would be in none, or was read before it was deleted.
    """
    kin = dict.fromkeys([*run.kin, *kept.kin])
    if not kin:
        return [], kept
    round_trip = store.pipeline()
    for conversation_id in kin:
        round_trip.recall_kin(conversation_id)
    round_trip.recall(run)
    *others, latest = round_trip.execute()
    return others, latest or kept


def _carry_out(store: Store, batch: Held, kin: Sequence[str] | None = None) -> Kept | None:
    """Carry out edits and deletions; return what is kept then, None if it is not the holder's.

    Where new messages go to another conversation, also those that came there; with ``kin`` those
    of all conversations of the customer, also of these. Raise TransientError where one changes all
    the time.
    """
    is_all = kin is not None
    for tries in range(AMENDS_MAX):
        kept = store.recall(batch)
        if kept and (is_all or kept.amendments or kept.moved):
            kept = store.recall_all(batch, kin or ())
        if kept is None or not (is_all or kept.amendments or kept.moved):
            return kept
        change = amended(kept, partial(store.keyring.digest, batch.account_id))
        elsewhere = {c: it for c, it in change.kin.items() if it.lists}
        for place in change.places_damaged if tries == 0 else ():
            about = _names(batch.wake_up, batch.account_id)
            log.error("content.damaged", extra=about | {"place": place})
        if not change.lists and not elsewhere:
            return kept
        # First elsewhere: here the edit or the deletion ends. What is being asked about there stays
        # as it is, so this waits for its answer. Read again in either case: something may have come
        # meanwhile.
        done = all(store.amend_kin(c, kept.kin[c], it) for c, it in elsewhere.items())
        if done and change.lists:
            store.amend(batch, kept, change)
    raise TransientError("conversation_busy")


def _keep(steps: Scripts, account: Account, run: Run, answer: Answer, took_ms: int) -> bool:
    """Keep the answer of a run, and have a person alerted where it hands over; False if stale.

    Raise SupersededError.
    """
    parts = account.channel.split(answer.text)
    # Who is awaited already was alerted.
    handover = None if run.awaited else answer.handover
    exchange = steps.exchange(run, answer.text, parts)
    # The reply is kept before it is sent: a retry must not ask the model twice.
    kept = steps.checkpoint(run, parts, exchange, handover=handover, waiting=account.waiting)
    if kept == SUPERSEDED:
        raise SupersededError
    if kept:
        fields = {"parts": len(parts), "took_ms": took_ms, "waited_ms": run.age_ms}
        log.info("reply.generated", extra=_about(run) | fields)
    if kept == HANDED_OVER and handover:
        why = {"reason": handover.reason, "urgency": handover.urgency}
        log.warning("handover.started", extra=_about(run) | why)
    return bool(kept)


def _ask(store: Store, steps: Scripts, account: Account, run: Run) -> tuple[Run, Answer]:
    """Return the answer of the first model that can be asked now, and the run as it was asked.

    Nothing is asked of a run that the customer withdraws meanwhile, or that is a person's. Raise
    what the last model raised.
    """
    if account.desk and not run.awaited and _claim(account.desk, run):
        run, history = _amended(store, run)
        # Again: no person is told of what was deleted meanwhile.
        if claim := _claim(account.desk, run):
            return run, account.desk.settled(history, Answer("", claim))
    spend(steps, run, account.budget)
    *before, last = _models(account, run.tries)
    try:
        for one in before:
            with suppress(CircuitOpenError, ModelStoppedError):
                return _ask_one(store, steps, account, run, *one)
        return _ask_one(store, steps, account, run, *last)
    except TransientError as error:
        if error.free and account.budget:
            steps.refund(run)
        raise


def _claim(desk: Desk, run: Run) -> Handover | None:
    customers = [message.customer for message in run.messages]
    said = (message.text for message in run.messages if not message.is_deletion)
    return desk.claims(customers, "\n".join(said))


def _ask_one(
    store: Store, steps: Scripts, account: Account, run: Run, of: Dependency, model: Model
) -> tuple[Run, Answer]:
    state = try_circuit(steps, run, of)
    # Nothing comes between this and the question: a deletion until now is obeyed.
    run, history = _amended(store, run)
    if run.is_withdrawn:
        return run, Answer("")
    called = store.figures.call("generation", of, run.account_id, of)
    with _circuit_follows(steps, run, of, state), called:
        answer = model.answer(history, f"{_promised(run)}{run.turn}", now_ms=run.now_ms)
    answer = account.desk.settled(history, answer) if account.desk else answer
    if not answer.text.strip():
        raise UnusableAnswerError("model_empty")
    return run, answer


def _promised(run: Run) -> str:
    """Return what the model is told before the turn of a customer who waits for a person."""
    if not run.awaited:
        return ""
    minutes = max(0, run.now_ms - min(run.awaited.values())) // 60_000
    return (
        f"[The customer was promised a person from the team {minutes} minutes ago, who was told "
        "and has not written yet. Answer simple questions; leave the rest to that person, and do "
        "not hand over again]\n"
    )


def _models(account: Account, tries: int) -> list[tuple[Dependency, Model]]:
    """Return the models to ask, in this order, after so many tries that failed in passing.

    From the second on all models take turns: what lasts longer than a hiccup is not waited for.
    """
    models = list[tuple[Dependency, Model]](
        zip(MODELS, (account.model, *account.fallbacks), strict=False)
    )
    first = max(0, tries - 1) % len(models)
    return models[first:] + models[:first]


def try_circuit(store: Scripts, run: Run, of: Dependency) -> int:
    """Return CLOSED or PROBE: the run may call. Raise CircuitOpenError where it is to wait."""
    state = store.try_circuit(run.account_id, of, run.wake_up)
    if state > 0:
        # Not by a StoppedError: an open circuit must not open itself again.
        wait_ms = state + state * _spread(run.wake_up.batch_id) // 1000
        raise CircuitOpenError(f"{of}_stopped", retry_after_ms=wait_ms, free=True)
    return state


@contextmanager
def _circuit_follows(store: Scripts, run: Run, of: Dependency, state: int) -> Iterator[None]:
    """Open or close a circuit by what comes of a call. Raise what the call raises."""
    account_id, wake_up = run.account_id, run.wake_up
    try:
        yield
    except SupersededError:
        # A probe that is cut off goes on as soon as its batch is asked about again.
        raise
    except (UnusableAnswerError, PermanentError):
        # It was answered: the fault is this batch's alone.
        _close_circuit(store, run, of, state)
        raise
    except StoppedError as error:
        if store.open_circuit(account_id, of, error.code, wake_up):
            log_stopped(account_id, of, error.code)
        raise
    except Exception as error:
        if state == PROBE:
            store.open_circuit(
                account_id, of, getattr(error, "code", type(error).__name__), wake_up
            )
        raise
    _close_circuit(store, run, of, state)


def _close_circuit(store: Scripts, run: Run, of: Dependency, state: int) -> None:
    lasted_ms = store.close_circuit(run.account_id, of, run.wake_up) if state == PROBE else 0
    about = {"account": run.account_id, "of": of, "stopped_ms": lasted_ms}
    if lasted_ms and of is Dependency.CHANNEL:
        log.info("channel.resumed", extra=about)
    elif lasted_ms:
        log.info("model.resumed", extra=about)


def log_stopped(account_id: str, of: Dependency, code: str) -> None:
    """Log that ``open_circuit`` alerted a person."""
    about = {"account": account_id, "of": of, "code": code}
    if of is Dependency.CHANNEL:
        log.error("channel.stopped", extra=about)
    else:
        log.error("model.stopped", extra=about)


def spend(store: Scripts, run: Run, budget: Budget | None) -> None:
    """Count the question that the run is about to ask; without a budget any may be asked.

    Raise BudgetSpentError where it may not be asked; a person is alerted, once an hour. Safe to
    run twice.
    """
    refused = store.spend(run, budget) if budget else None
    if refused is None:
        return
    if refused.alerted:
        log.error("budget.spent", extra=_about(run) | {"code": refused.code})
    # Tried again soon, for a person may have raised the budget or switched the model on.
    defer_ms = store.timing.defer_ms
    wait_ms = defer_ms if refused.wait_ms is None else min(refused.wait_ms, defer_ms)
    raise BudgetSpentError(refused.code, retry_after_ms=wait_ms)


def _send_part(store: Scripts, account: Account, run: Run, part: int) -> bool:
    """Hand one part to the channel; False if it is not this run's. Raise SupersededError."""
    wake_up = run.wake_up
    tag = store.tag(run.account_id, wake_up.conversation_id, wake_up.batch_id, part)
    answers = tuple(message.message_id for message in run.messages)
    state = try_circuit(store, run, Dependency.CHANNEL)
    # Recorded before it is sent: if the worker dies here, the part is ambiguous and not sent twice.
    policy = "alert" if run.apology or run.is_notice else account.ambiguous
    going = store.mark_sending(run, part, policy)
    if going == SUPERSEDED:
        raise SupersededError
    if going != GO:
        return False
    began_ms = _clock_ms()
    outbound = Outbound(run.address, run.parts[part], str(tag), answers)
    called = store.figures.call("sending", Dependency.CHANNEL, run.account_id)
    with _circuit_follows(store, run, Dependency.CHANNEL, state), called:
        provider_id = account.channel.send(outbound)
    took_ms = _clock_ms() - began_ms
    store.mark_sent(run.account_id, tag, provider_id)
    name = store.keyring.message_name(run.account_id, provider_id)
    fields = {"part": part, "message_id": name, "took_ms": took_ms}
    log.info("reply.part_sent", extra=_about(run) | fields)
    return True


def _note_sent(store: Store, run: Run) -> None:
    """Note that the account's channel works, whatever its provider said; for a run that sent."""
    told = "a message was sent"
    if run.part < len(run.parts) and store.note_channel(run.account_id, Gravity.WELL, told):
        log.info("channel.recovered", extra=_about(run) | {"notice": "sent"})


def _clock_ms() -> int:
    """Return monotonic ms, for how long a call took: for the log, no decision hangs on it."""
    return time.monotonic_ns() // 1_000_000


def _lease_renewed(
    store: Store, run: Run, renew_lease: LeaseRenewer
) -> AbstractContextManager[None]:
    return renew_lease(lambda: store.renew(run), run.limits.lease_ms)


def _trace_whole(store: Scripts, batch: Held, state: str, code: str = "") -> None:
    """Keep the span above all others of a batch that ends here."""
    store.figures.traces.past(
        WHOLE,
        batch.wake_up.batch,
        since_ms=batch.first_ms if isinstance(batch, Run) else 0,
        code=code,
        account=batch.account_id,
        state=state,
    )


def _to_send(wake_up: WakeUp) -> WakeUp:
    """Return the wake-up that has the reply of a batch sent."""
    return WakeUp(wake_up.conversation_id, wake_up.batch_id, 1, Stage.SEND)


def _about(run: Run) -> dict[str, object]:
    """Return the log fields of a run."""
    return _names(run.wake_up, run.account_id) | {"batch_size": run.count}


def _names(wake_up: WakeUp, account_id: str) -> dict[str, object]:
    """Return the log fields that name a batch."""
    return {
        "account": account_id,
        "conversation": wake_up.conversation_id,
        "batch": wake_up.batch_id,
        "stage": wake_up.stage,
        "attempt": wake_up.attempt,
    }
