"""``/metrics``: what the ledger counts, and what this host's web processes do, for Prometheus.

No label names a customer. Every reason, code and account is there from the beginning, at 0: the
first of its kind can be seen rising. What is not known, such as the age of what never was, is left
out. A ledger that does not answer is ``ai_admin_ledger_up 0``, and no error: the rest is answered.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import falcon
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from batching.figures import DONE, FAILED, TIMED
from batching.inspect import MESSAGES, by_reason
from batching.model import CLOSING, HANDOVER_REASONS, MODELS, Dependency, Kind, Reason
from channels import known_codes
from llm.client import KNOWN_CODES as MODEL_CODES
from runtime.build import Runtime
from runtime.certificates import Known
from runtime.fleet import ROLES
from web.access import Operators
from web.reading import OTHER, Reading, accounts_of, read

#: How long an answer is good, ms.
KNOWN_MS = 1_000
#: So many different codes have figures of their own; what is beyond shares OTHER.
CODES_MAX = 400
#: Counted since the ledger was created; of the others it is told how many there are now.
_COUNTERS = frozenset({"accepted", "suppressed", "lost"})
_MESSAGES = {
    "accepted": "Messages that were acknowledged.",
    "answered": "Messages of answered batches; fewer again if an answer did not arrive.",
    "suppressed": "Messages that are deliberately not answered.",
    "dead": "Messages in dead letters, now.",
    "lost": "Messages that vanished from Redis by themselves.",
    "open": "Messages that still collect, now.",
    "flight": "Messages of batches in flight, now.",
}
#: Further counters, by their name in the ledger.
_EVENTS = {
    "alarms": "Alerts about the installation.",
    "ambiguous": "Parts whose worker ended while sending, or whose answer was lost.",
    "channel_stopped": "Alerts about an account that cannot send.",
    "duplicate": "Messages that were delivered again.",
    "full": "Messages refused because their conversation holds too many.",
    "limits_mismatch": "Messages added to a batch by a process with other limits.",
    "model_stopped": "Alerts about a model that refuses every question of an account.",
    "overdue": "Batches that waited longer than BATCH_OVERDUE_MS.",
    "replayed": "Messages of dead letters that were replayed.",
    "handover_apologies": "Times a customer was told that a person is still awaited.",
    "sink_failed": "Messages that an address of NOTIFY_URLS did not take.",
    "status_refused": "Statuses about another account's parts, or with a tag that is not ours.",
    "undelivered": "Parts that the provider reports as failed.",
    "worker_died": "Leases of running workers that expired.",
}
#: Counters with a reason, in the ledger "dead:poison": what they count, and reasons that there are.
_REASONS: Mapping[str, tuple[str, Iterable[str]]] = {
    "dead": (
        "Messages that became dead, by reason.",
        set(Reason) - {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER, Reason.HANDOVER},
    ),
    "flush": ("Batches that became due, by why.", ("idle", "size", "age")),
    "foreign": (
        "Messages from our number that we did not send, by author.",
        ("app", "meta_agent", "person", "unknown"),
    ),
    "handover": ("Conversations handed over to a person, by reason.", HANDOVER_REASONS),
    "handover_ended": (
        "Hand-overs that ended, by how.",
        ("answered", "declined", "expired", "resumed"),
    ),
    "suppressed": (
        "Messages that were suppressed, by reason.",
        (
            *(Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER, Reason.HANDOVER, "overflow"),
            *(Kind.REACTION, Kind.DELETED, Kind.CALL, CLOSING),
        ),
    ),
    "unasked": (
        "Questions that a budget or a switched-off model kept back, by reason; one may wait often.",
        (
            *("budget_conversation", "budget_conversation_day", "budget_account"),
            *("budget_installation", "model_off"),
        ),
    ),
}
_SENT = {
    "replies_sent": "Replies that left whole.",
    "parts_sent": "Messages in which replies left, which the provider may bill.",
    "calls_saved": "Questions to the model that collecting saved.",
    "drafts_discarded": "Answers that were discarded because the customer wrote again.",
}
_TIMES = {
    "wait": ("From the first message of a batch until it is due and collected.", ()),
    "quiet": ("From the last message of a batch until it is due and collected.", ()),
    "generation": ("Calls of a model, by which one and how they ended.", ("model", "outcome")),
    "sending": ("Calls of a provider that send a part, by how they ended.", ("outcome",)),
    "end_to_end": ("From the first message of a batch until its answer was sent.", ()),
}
#: Codes of retries that no provider or model gives.
_OWN_CODES = (
    *(f"{of}_stopped" for of in Dependency),
    *("account_unknown", "broker_away", "conversation_busy", "ledger_away", "superseded"),
)
_Values = Iterable[tuple[Sequence[str], float]]
#: Labels → their sum.
_Sums = dict[tuple[str, ...], int]


class Metrics:
    """Answers Prometheus. Whoever asks, and however often, the ledger is asked once in KNOWN_MS.

    ``answers``: the registry of what the web processes of this host count. ``clock``: monotonic ms.
    """

    def __init__(
        self,
        runtime: Runtime,
        operators: Operators,
        answers: CollectorRegistry,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._operators = operators
        self._told = _Told(runtime, Known(runtime.settings, clock))
        self._answers = _of_all_processes(answers)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Reading | None = None
        self._known_ms = clock() - KNOWN_MS

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 in Prometheus's text format; ``?former=yes`` adds the names of before.

        Raise RefusalError, 401, for a stranger.
        """
        self._operators.demand(req)
        with self._lock:
            # Whoever had to wait for another's answer takes that.
            if self._clock() - self._known_ms >= KNOWN_MS:
                self._known, self._known_ms = self._told.read(), self._clock()
            reading = self._known
        families = [*self._told.families(reading), *self._answers.collect()]
        if req.get_param_as_bool("former"):
            families += _former(reading)
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.cache_control = ["no-store"]
        resp.data = generate_latest(_Known(families))


class _Known(Collector):
    """Families that are known already, as the library takes them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_all_processes(own: CollectorRegistry) -> Collector:
    """Return what gives the sums of gunicorn's workers, or of this process where it is alone."""
    try:
        return MultiProcessCollector(None)  # type: ignore[no-untyped-call]
    except ValueError:
        return own


@dataclass(frozen=True, slots=True)
class _Told:
    """Turns a reading of the ledger into families of metrics."""

    runtime: Runtime
    certificates: Known

    def read(self) -> Reading | None:
        """Return what the ledger says now, None if it does not answer."""
        return read(self.runtime)

    def families(self, reading: Reading | None) -> Iterator[Metric]:
        """Yield every family; of a ledger that does not answer only that it does not."""
        settings = self.runtime.settings
        build = [((settings.release, self.runtime.fingerprint), 1)]
        yield _gauge(
            "build_info", "Release and fingerprint of this process.", build, "release fingerprint"
        )
        ends = [((it.of,), it.until_ms / 1000) for it in self.certificates.read()
                if it.until_ms is not None]  # fmt: skip
        says = "When the certificate that a server shows ends; 0 if it has."
        yield _gauge("certificate_end_timestamp_seconds", says, ends, "of")
        up = int(reading is not None)
        yield _gauge("ledger_up", "Whether the ledger answered; else what it counts is left out.",
                     [((), up)])  # fmt: skip
        if reading is None:
            return
        yield from _messages(reading)
        yield from self._by_account(reading)
        yield from self._by_code(reading)
        yield from self._stopped(reading)
        yield from _budgets(reading)
        yield from _waiting(reading)
        yield from _processes(reading)
        yield from _server(reading)

    def _by_account(self, reading: Reading) -> Iterator[Metric]:
        ids = accounts_of(self.runtime)
        for name, says in _SENT.items():
            counted = by_reason(reading.total, name)
            by_account: _Sums = {(it,): n for it, n in counted.items()}
            nothing: _Sums = {(it,): 0 for it in ids}
            yield _counter(name, says, _shared(by_account, nothing), "account")
        yield _gauge("watched_answers", "Answers that were sent and not yet delivered, now.",
                     [((it,), n) for it, n in reading.watched.items()], "account")  # fmt: skip
        for name, (says, labels) in _TIMES.items():
            yield _histogram(name, says, reading, ids, labels)
        born: _Sums = {(it, str(MODELS[0]), kind): 0 for it in ids for kind in ("input", "output")}
        yield _counter(
            "tokens",
            "Tokens that models say they used.",
            _shared(reading.figures.counted("tokens"), born),
            "account model kind",
        )

    def _by_code(self, reading: Reading) -> Iterator[Metric]:
        channels = {config.channel for config in self.runtime.accounts}
        known = sorted({it for name in channels for it in known_codes(name)})
        failures: _Sums = {("channel", code): 0 for code in known}
        failures |= {(str(of), code): 0 for of in MODELS[:1] for code in MODEL_CODES}
        retries: _Sums = {(code,): 0 for code in (*known, *MODEL_CODES, *_OWN_CODES)}
        figures = reading.figures
        yield _counter(
            "call_failures",
            "Calls of a provider or a model that failed, by code.",
            _bounded(figures.counted("failures"), failures),
            "of code",
        )
        yield _counter(
            "retries",
            "Attempts that ended in another one, by the code of what went wrong.",
            _bounded(figures.counted("retries"), retries),
            "code",
        )

    def _stopped(self, reading: Reading) -> Iterator[Metric]:
        """Yield what each account cannot do now."""
        open_now = {(it.account_id, str(it.of)): it.code for it in reading.circuits}
        pairs = []
        for config in self.runtime.accounts:
            models = MODELS[: 1 + len(config.fallbacks)]
            pairs += [(config.account_id, str(of)) for of in (Dependency.CHANNEL, *models)]
        ids = set(accounts_of(self.runtime))
        pairs = [pair for pair in pairs if pair[0] in ids]
        yield _gauge(
            "circuit_open",
            "Whether an account's calls to its channel or model are stopped, now.",
            [(pair, int(pair in open_now)) for pair in pairs],
            "account of",
        )
        yield _gauge(
            "circuit_open_info",
            "Why a circuit is open, while it is.",
            [((*pair, code), 1) for pair, code in open_now.items()],
            "account of code",
        )
        lost = {it.account_id for it in reading.lost_channels}
        yield _gauge(
            "channel_lost",
            "Whether the provider says that an account's channel is lost, now.",
            [((it,), int(it in lost)) for it in accounts_of(self.runtime)],
            "account",
        )


def _budgets(reading: Reading) -> Iterator[Metric]:
    """Yield what is asked of models in a day, and how much may be."""
    accounts = [it for it in reading.spent if it.account_id]
    whole = [it for it in reading.spent if not it.account_id]
    yield _gauge("budget_used_questions", "Questions of an account in its present day.",
                 [((it.account_id,), it.questions) for it in accounts], "account")  # fmt: skip
    yield _gauge("budget_limit_questions", "Questions that an account may ask in a day.",
                 [((it.account_id,), it.most) for it in accounts], "account")  # fmt: skip
    yield _gauge("installation_budget_used_questions", "Questions of all accounts, today.",
                 [((), it.questions) for it in whole])  # fmt: skip
    yield _gauge("installation_budget_limit_questions", "Questions that all may ask in a day.",
                 [((), it.most) for it in whole])  # fmt: skip
    on = [] if reading.model_is_on is None else [reading.model_is_on]
    yield _gauge("model_on", "Whether questions may be asked: 0 while a person has switched"
                 " the models off.", [((), int(it)) for it in on])  # fmt: skip


def _messages(reading: Reading) -> Iterator[Metric]:
    """Yield the ledger's own counters, which add up to the unit."""
    for name in MESSAGES:
        make = _counter if name in _COUNTERS else _gauge
        values = [((str(it.shard),), it.named[name]) for it in reading.shards]
        yield make(f"messages_{name}", _MESSAGES[name], values, "shard")
    for name, says in _EVENTS.items():
        yield _counter(name, says, [((), reading.total[name])])
    for name, (says, reasons) in _REASONS.items():
        counted = dict.fromkeys(map(str, reasons), 0) | by_reason(reading.total, name)
        yield _counter(name, says, [((it,), counted[it]) for it in sorted(counted)], "reason")


def _waiting(reading: Reading) -> Iterator[Metric]:
    """Yield how much waits for somebody, and for how long the oldest of it does."""
    watch, counted, now_ms = reading.watch, reading.census, reading.watch.now_ms
    lag = [] if watch.heartbeat_ms is None else [((), watch.flusher_lag_ms / 1000)]
    due_ms = now_ms if watch.due_ms is None else watch.due_ms
    answered_ms, round_trip_ms = reading.canary
    told: list[tuple[str, str, _Values]] = [
        ("open_batches", "Batches that collect or are due, with no other in flight.",
         [((), counted.due)]),
        ("flight_batches", "Batches in flight, now.", [((), counted.leased)]),
        ("flight_oldest_seconds", "Age of the oldest batch in flight, by its first message.",
         [((), reading.oldest_flight_ms / 1000)]),
        ("overdue_batches", "Batches that wait too long and that nobody was alerted to yet.",
         [((), counted.overdue)]),
        ("dead_letters", "Dead letters that wait for a person, now.",
         [((), counted.dead_letters)]),
        ("dead_letter_oldest_seconds", "Age of the oldest dead letter.",
         [((), counted.oldest_dead_letter_ms / 1000)]),
        ("handovers_waiting", "Conversations in which a person is awaited, now.",
         [((), len(reading.awaited))]),
        ("handover_oldest_seconds", "For how long the first of them has waited.",
         [((), max(0, now_ms - min(reading.awaited, default=now_ms)) / 1000)]),
        ("alerts_undelivered", "Alerts that no person was notified of yet.",
         [((), reading.alerts.count)]),
        ("alert_oldest_undelivered_seconds", "Age of the oldest of them.",
         [((), reading.alerts.oldest_ms / 1000)]),
        ("flusher_lag_seconds", "Age of the last collection; left out if there never was one.",
         lag),
        ("oldest_due_lag_seconds", "How long the first due batch has waited to be collected.",
         [((), max(0, now_ms - due_ms) / 1000)]),
        ("canary_age_seconds", "Age of the last answered canary; left out if there never was one.",
         [((), max(0, now_ms - answered_ms) / 1000)] if answered_ms else []),
        ("canary_round_trip_seconds", "What the last answered canary took.",
         [((), round_trip_ms / 1000)] if answered_ms else []),
        ("backup_age_seconds", "Age of the last copy of the ledger; left out if there is none.",
         [((), max(0, now_ms - reading.copied_ms) / 1000)] if reading.copied_ms else []),
    ]  # fmt: skip
    yield from (_gauge(name, says, values) for name, says, values in told)


def _processes(reading: Reading) -> Iterator[Metric]:
    """Yield what the live processes say of themselves, and how many ended without a word."""
    alive = [it for it in reading.members if it.is_alive]
    counts = [((role,), sum(it.role == role for it in alive)) for role in ROLES]
    yield _gauge("processes", "Live processes in this Redis, by role.", counts, "role")
    yield _gauge("drift", "What live processes disagree about, now.", [((), reading.drift)])
    yield _gauge("worker_threads", "Threads for tasks in live workers.",
                 [((), sum(it.threads for it in alive))])  # fmt: skip
    yield _gauge("worker_threads_busy", "Those of them that have a task, at the last heartbeat.",
                 [((), sum(it.busy for it in alive))])  # fmt: skip
    queued: dict[str, int] = {}
    for member in alive:
        for queue, _, count in (it.partition("=") for it in member.queued.split()):
            queued[queue] = max(queued.get(queue, 0), int(count) if count.isdecimal() else 0)
    yield _gauge("broker_waiting", "Wake-ups in the broker that no worker has taken, by queue.",
                 [((queue,), queued[queue]) for queue in sorted(queued)], "queue")  # fmt: skip
    deaths: _Sums = {(role,): 0 for role in ROLES}
    yield _counter("process_deaths", "Processes that went silent for a minute without leaving.",
                   _bounded(reading.figures.counted("deaths"), deaths), "role")  # fmt: skip
    lost = reading.figures.counted("reports_lost")
    yield _counter("reports_lost", "Errors that did not come to Sentry.",
                   [((), sum(lost.values()))])  # fmt: skip


def _server(reading: Reading) -> Iterator[Metric]:
    """Yield what the ledger's Redis says of itself; nothing where our user may not ask."""
    info = reading.redis
    script = info.get("cmdstat_evalsha")
    script = script if isinstance(script, dict) else {}
    told: list[tuple[str, str, object, float]] = [
        ("redis_memory_bytes", "Memory that the ledger's Redis uses.", info.get("used_memory"), 1),
        ("redis_memory_limit_bytes", "Its maxmemory, 0 for none.", info.get("maxmemory"), 1),
        ("redis_script_seconds", "Time it spent in scripts since its start.",
         script.get("usec", 0) if info else None, 1e-6),
        ("redis_scripts", "Scripts that it ran since its start.",
         script.get("calls", 0) if info else None, 1),
    ]  # fmt: skip
    for name, says, value, unit in told:
        values = [((), float(value) * unit)] if isinstance(value, int | float) else []
        yield (_gauge if name.endswith("_bytes") else _counter)(name, says, values)


def _former(reading: Reading | None) -> Iterator[Metric]:
    """Yield what has another name or unit now, as the release before gave it; -1 for never."""
    if reading is None:
        return
    watch, now_ms = reading.watch, reading.watch.now_ms
    answered_ms, round_trip_ms = reading.canary
    due_ms = now_ms if watch.due_ms is None else watch.due_ms
    for name, instead, value in (
        ("flusher_lag_ms", "flusher_lag_seconds", watch.flusher_lag_ms),
        ("oldest_due_lag_ms", "oldest_due_lag_seconds", max(0, now_ms - due_ms)),
        ("canary_age_ms", "canary_age_seconds", now_ms - answered_ms if answered_ms else -1),
        ("canary_round_trip_ms", "canary_round_trip_seconds", round_trip_ms or -1),
    ):
        yield _gauge(name, f"Deprecated: use ai_admin_{instead}.", [((), value)])
    answered = [((str(it.shard),), it.answered) for it in reading.shards]
    yield _counter(
        "messages_answered", "Deprecated: use ai_admin_messages_answered.", answered, "shard"
    )


def _gauge(name: str, says: str, values: _Values, labels: str = "") -> Metric:
    family = GaugeMetricFamily(f"ai_admin_{name}", says, labels=labels.split())
    for given, value in values:
        family.add_metric(given, value)
    return family


def _counter(name: str, says: str, values: _Values, labels: str = "") -> Metric:
    family = CounterMetricFamily(f"ai_admin_{name}", says, labels=labels.split())
    for given, value in values:
        family.add_metric(given, value)
    return family


def _histogram(
    name: str, says: str, reading: Reading, ids: Sequence[str], labels: Sequence[str]
) -> Metric:
    """Return the times of ``name``, each account's from the beginning."""
    family = HistogramMetricFamily(f"ai_admin_{name}_seconds", says, labels=("account", *labels))
    bounds = [*(f"{bound / 1000:g}" for bound in TIMED[name]), "+Inf"]
    nothing = ([0] * len(bounds), 0)
    values = {"model": (str(MODELS[0]),), "outcome": (DONE, FAILED)}
    found: dict[tuple[str, ...], tuple[list[int], int]] = dict.fromkeys(
        product(ids, *(values[label] for label in labels)), nothing
    )
    for (account, *rest), (buckets, total_ms) in reading.figures.times(name).items():
        where = (account if account in set(ids) else OTHER, *rest)
        before, before_ms = found.get(where, nothing)
        found[where] = [a + b for a, b in zip(before, buckets, strict=True)], before_ms + total_ms
    for where, (buckets, total_ms) in sorted(found.items()):
        below = [(bound, sum(buckets[: n + 1])) for n, bound in enumerate(bounds)]
        family.add_metric(where, below, total_ms / 1000)
    return family


def _shared(counted: _Sums, born: _Sums) -> list[tuple[tuple[str, ...], int]]:
    """Return sums whose first label is an account; those that are not known share OTHER."""
    ids, found = {first for first, *_ in born}, dict(born)
    for (account, *rest), by in counted.items():
        where = (account if account in ids else OTHER, *rest)
        found[where] = found.get(where, 0) + by
    return sorted(found.items())


def _bounded(counted: _Sums, born: _Sums) -> list[tuple[tuple[str, ...], int]]:
    """Return sums whose last label is a code; beyond CODES_MAX further ones share OTHER."""
    found = dict(born)
    for (*rest, code), by in sorted(counted.items()):
        is_new = (*rest, code) not in found and len(found) >= CODES_MAX
        where = (*rest, OTHER if is_new else code)
        found[where] = found.get(where, 0) + by
    return sorted(found.items())
