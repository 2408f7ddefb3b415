"""Tell people of alerts at the addresses of NOTIFY_URLS: the first of a cause at once.

Further alerts of the same cause, and what comes in quiet hours, wait in the ledger for one message
that tells of all. An error is told again until a person acknowledges it, or it is over.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from batching.alerts import Alert
from batching.inspect import awaited
from batching.model import Dependency
from batching.reminders import OpenAlert, Reminders
from batching.store import Store
from config.hours import hours_of
from runtime.meanings import Severity
from runtime.notification import Links, Notification, notification_of
from runtime.settings import Settings
from runtime.sinks import Address, Message, Outcome, Sending
from runtime.units import moment, span

log = logging.getLogger(__name__)

#: From the least to the most urgent. Of the last, people are told in quiet hours too.
SEVERITIES = tuple(reversed(Severity))
#: How long alerts of a cause of which people were told are counted for one message, ms.
DIGEST_MS = 600_000
#: When an alert that Sentry took and no address is tried again, ms.
RETRY_MS = 60_000
#: So many causes are named in one message.
NAMED_MAX = 20
_CIRCUITS = {of.alert for of in Dependency}
_LOST = "channel_lost"
_AWAITED = {"handover", "handover_waits"}

#: In whose name an open alert is closed that is over by itself.
RECOVERED = "recovered"


@dataclass(frozen=True, slots=True)
class People:
    """Those who are told at ``addresses``; nobody without any."""

    store: Store
    settings: Settings
    addresses: Sequence[Address] = ()

    @property
    def reminders(self) -> Reminders:
        """Return the alerts that they are still to be told of."""
        return Reminders(self.store)

    @property
    def links(self) -> Links:
        """Return where they read on."""
        return Links.of(self.settings)

    def tell(
        self,
        alerts: Sequence[Alert],
        told: Mapping[str, Notification],
        others: Callable[[], Collection[Alert]],
    ) -> tuple[set[Alert], set[Alert]]:
        """Tell of ``alerts``, while ``others`` does what else is to be done about them.

        ``told``: what people are told, by the alert's name.
        Return those that are delivered: taken at an address, kept for a later message, or in what
        ``others`` returns; and those of which nobody here is to be told.
        Raise LedgerUnavailableError: then none is delivered.
        """
        wanted = {alert: words for alert in alerts if (words := self._wanted(alert, told))}
        now_ms = self.store.now_ms() if wanted else 0
        known = self.reminders.known([alert.rate_name for alert in wanted])
        at_once = {
            alert: words
            for alert, words in wanted.items()
            if alert.rate_name not in known and not self._quiet_ms(now_ms, words.severity)
        }
        sendings = self._send(at_once)
        confirmed = set(others())
        taken = self._taken(at_once, sendings)
        due = dict(self._due(wanted, at_once, taken, confirmed, now_ms))
        self.reminders.keep(due, taken)
        return confirmed | taken | set(due), set(alerts) - set(wanted)

    def remind(self) -> None:
        """Tell of open alerts that are due. Raise LedgerUnavailableError."""
        if not self.addresses or not (due := self.reminders.due()):
            return
        now_ms, words = self.store.now_ms(), {it: self._words_of(it) for it in due}
        over = [it for it in due if self._has_recovered(it)]
        self.reminders.acknowledge(over, RECOVERED)
        done = [it for it in due if not it.untold and not self._repeats(words[it].severity)]
        self.reminders.told(done, again_ms=0)
        left = [it for it in due if it not in over and it not in done]
        quiet = {it: self._quiet_ms(now_ms, words[it].severity) for it in left}
        self.reminders.postpone({it: at_ms for it, at_ms in quiet.items() if at_ms})
        now = {it.alert: words[it] for it in left if not quiet[it]}
        taken = self._taken(now, self._send(now, is_repeated=not any(it.untold for it in left)))
        for it in left:
            if it.alert in taken:
                again_ms = self._again_ms(now_ms, words[it].severity)
                self.reminders.told([it], again_ms=again_ms)
        if len(taken) == len(now):
            self.reminders.end_turn()

    def _wanted(self, alert: Alert, told: Mapping[str, Notification]) -> Message | None:
        """Return what people are told of an alert, None if nobody is to be told."""
        if not any(_is_for(address, alert) for address in self.addresses):
            return None
        words = _message(told[alert.name])
        least = SEVERITIES.index(Severity(self.settings.notify_min_severity))
        return words if SEVERITIES.index(words.severity) >= least else None

    def _has_recovered(self, it: OpenAlert) -> bool:
        """Return whether what people were told of is over, as the ledger knows."""
        account_id, kind = it.first.account_id, it.first.kind
        if it.untold:
            return False
        if kind in _AWAITED:
            return account_id not in {it.account_id for it in awaited(self.store)}
        if kind in _CIRCUITS:
            return kind not in {circuit.of.alert for circuit in self.store.circuits([account_id])}
        return kind == _LOST and account_id not in {
            lost.account_id for lost in self.store.lost_channels()
        }

    def _due(
        self,
        wanted: Mapping[Alert, Message],
        at_once: Collection[Alert],
        taken: Collection[Alert],
        confirmed: Collection[Alert],
        now_ms: int,
    ) -> Iterator[tuple[Alert, int]]:
        """Yield each alert that is kept, and when people are told of it (again)."""
        for alert, words in wanted.items():
            if alert in taken:
                yield alert, self._again_ms(now_ms, words.severity)
            elif alert not in at_once:
                yield alert, self._quiet_ms(now_ms, words.severity) or now_ms + DIGEST_MS
            elif alert in confirmed:
                yield alert, now_ms + RETRY_MS

    def _repeats(self, severity: Severity) -> bool:
        is_error = SEVERITIES.index(severity) >= SEVERITIES.index(Severity.ERROR)
        return is_error and self.settings.notify_repeat_ms > 0

    def _again_ms(self, now_ms: int, severity: Severity) -> int:
        pause_ms = self.settings.notify_repeat_ms if self._repeats(severity) else DIGEST_MS
        return now_ms + pause_ms

    def _quiet_ms(self, now_ms: int, severity: Severity) -> int:
        """Return when quiet hours end, 0 if they do not keep us from telling now."""
        hours = hours_of(self.settings.notify_quiet)
        return hours.end_ms(now_ms) if hours and severity is not Severity.FATAL else 0

    def _words_of(self, it: OpenAlert) -> Message:
        words = _message(notification_of(it.alert, self.links))
        since = f"Since {moment(it.first.at_ms)[:16]} UTC" if it.first.at_ms else "Open"
        times = f", {it.count} times" if it.count > 1 else ""
        return Message(words.title, f"{words.body}\n{since}{times}.", words.severity)

    def _send(self, words: Mapping[Alert, Message], *, is_repeated: bool = False) -> list[Sending]:
        """Begin to tell each address of what is for it, in one message."""
        found = [
            (address, [words[alert] for alert in words if _is_for(address, alert)])
            for address in self.addresses
        ]
        return [
            address.send(self._all(its_own, is_repeated=is_repeated))
            for address, its_own in found
            if its_own
        ]

    def _all(self, found: Sequence[Message], *, is_repeated: bool) -> Message:
        """Return one message for all, the most urgent first."""
        found = sorted(found, key=lambda it: SEVERITIES.index(it.severity), reverse=True)
        first, count = found[0], len(found)
        title = first.title if count == 1 else f"{count} alerts. {first.title}"
        blocks = [first.body, *(f"{it.title}\n{it.body}" for it in found[1:NAMED_MAX])]
        if count > NAMED_MAX:
            blocks.append(f"{count - NAMED_MAX} more: python manage.py alerts")
        if self._repeats(first.severity):
            pause = span(self.settings.notify_repeat_ms)
            blocks.append(f"Told again every {pause} until: python manage.py alerts ack")
        title = f"Not acknowledged: {title}" if is_repeated else title
        return Message(title, "\n\n".join(filter(None, blocks)), first.severity)

    def _taken(self, words: Collection[Alert], sendings: Sequence[Sending]) -> set[Alert]:
        """Return the alerts that some address took; log the addresses that did not."""
        results = [(sending.address, sending.outcome()) for sending in sendings]
        failed = [(address, outcome) for address, outcome in results if outcome.code]
        for address, outcome in failed:
            self._note_failure(address, outcome)
        took = [address for address, outcome in results if not outcome.code]
        return {alert for alert in words if any(_is_for(address, alert) for address in took)}

    def _note_failure(self, address: Address, outcome: Outcome) -> None:
        log.warning("sink.failed", extra={"sink": address.name, "code": outcome.code})
        self.reminders.count_failure()


def _message(told: Notification) -> Message:
    """Return one alert as a message: what happened, then what to do and where to read on."""
    trace = f"python manage.py trace {told.conversation_id}" if told.conversation_id else ""
    lines = (told.to_do, told.runbook, told.console or trace)
    return Message(told.title, "\n".join(filter(None, lines)), told.severity)


def _is_for(address: Address, alert: Alert) -> bool:
    return address.account_id in {"", alert.account_id}
