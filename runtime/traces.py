"""Traces: what was done for a batch, as spans, for a collector by OTLP and for Sentry.

No context is carried from process to process: the ids of a batch's trace, and of the span above all
others, are digests of its name. So every process knows them, nobody else chooses them, and whether
a trace is kept is decided by its id, everywhere alike.

A span says what was done for how long, with which code it failed and for which account; never what
was written, to whom, or in which words something failed.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sentry_sdk

from batching.errors import AdminError, ConfigurationError
from batching.figures import WHOLE, Traces
from llm.client import RemoteModel
from runtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OtlpSpan
    from sentry_sdk.tracing import Span as SentrySpan

    from runtime.otlp import Collector

#: What is known of a span → the name that readers of traces know it by; others begin with ours.
#: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
NAMES: Mapping[str, str] = {
    "code": "error.type",
    "conversation": "gen_ai.conversation.id",
    "operation": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "output_tokens_max": "gen_ai.request.max_tokens",
    "input": "gen_ai.usage.input_tokens",
    "output": "gen_ai.usage.output_tokens",
}
_OURS = "ai_admin."
#: Our providers of models → as those conventions call whose form of requests it is.
_PROVIDERS = {"openai_compatible": "openai"}
#: Calls that leave this host.
OUTSIDE = frozenset({"generation", "sending"})

_Value = str | int


@dataclass(frozen=True, slots=True)
class Place:
    """The ids of a batch's trace, and of the span above all others in it."""

    trace_id: int
    span_id: int

    @classmethod
    def of(cls, ledger_id: str, batch: str) -> "Place":
        """Return the place of a batch; the same in every process."""
        digest = hashlib.sha256(f"{ledger_id}:{batch}".encode()).digest()
        # Zero means that there is none.
        return cls(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1)

    def is_kept(self, percent: int) -> bool:
        """Return whether the trace is among so many of a hundred."""
        return (self.trace_id & (1 << 64) - 1) * 100 < percent << 64


@dataclass(slots=True)
class _Span:
    """One span, in each of the two ways that are kept; None where one is not."""

    otlp: "OtlpSpan | None" = None
    sentry: "SentrySpan | None" = None
    tokens: dict[str, int] = field(default_factory=dict)

    def note(self, about: Mapping[str, _Value]) -> None:
        for key, value in about.items():
            name = NAMES.get(key, f"{_OURS}{key}")
            if self.otlp:
                self.otlp.set_attribute(name, value)
            if self.sentry:
                self.sentry.set_data(name, value)

    def end(self, code: str, at_ns: int) -> None:
        if code:
            self.note({"code": code})
        if self.otlp:
            from runtime.otlp import fail  # noqa: PLC0415 - only where there is such a span

            if code:
                fail(self.otlp)
            self.otlp.end(at_ns)
        if self.sentry:
            self.sentry.set_status("internal_error" if code else "ok")
            self.sentry.finish(end_timestamp=_moment(at_ns))


#: The span that this thread or greenlet is in.
_current: ContextVar[_Span | None] = ContextVar("span", default=None)


class KeptTraces(Traces):
    """Keeps spans. ``collector``: None without TRACES_URL. ``channels``: by account."""

    kept = True

    def __init__(
        self,
        settings: Settings,
        ledger_id: str,
        collector: "Collector | None",
        channels: Mapping[str, str],
    ) -> None:
        self._ledger_id = ledger_id
        self._collector = collector
        self._percent = settings.traces_percent
        self._sentry_percent = settings.sentry_traces_percent if settings.sentry_dsn else 0
        self._channels = channels

    @contextmanager
    def span(self, name: str, *, batch: str | None = None, **about: _Value) -> Iterator[None]:
        """Keep the block as a span, with the code of what it raises."""
        above = _current.get()
        if batch is None and above is None:
            yield
            return
        span = self._begin(name, batch, above, time.time_ns())
        if channel := self._channels.get(str(about.get("account", ""))):
            about["channel"] = channel
        span.note(about)
        token, code = _current.set(span), ""
        try:
            yield
        except AdminError as error:
            code = error.code
            raise
        except Exception as error:
            # Its words may be a customer's.
            code = type(error).__name__
            raise
        finally:
            _current.reset(token)
            span.end(code, time.time_ns())

    def past(
        self,
        name: str,
        batch: str,
        *,
        ms: int = 0,
        since_ms: int = 0,
        code: str = "",
        **about: _Value,
    ) -> None:
        """Keep a span that ends now."""
        now_ns = time.time_ns()
        began_ns = since_ms * 1_000_000 if since_ms else now_ns - ms * 1_000_000
        span = self._begin(name, batch, None, min(began_ns, now_ns))
        span.note(about)
        span.end(code, now_ns)

    def note(self, **about: _Value) -> None:
        """Add to the span that this thread is in."""
        if span := _current.get():
            span.note(about)

    def used(self, kind: str, tokens: int) -> None:
        """Add to the tokens of the span that this thread is in."""
        if span := _current.get():
            span.tokens[kind] = span.tokens.get(kind, 0) + tokens
            span.note({kind: span.tokens[kind]})

    def close(self) -> None:
        """Send what waits, for a little while. For the end of a process."""
        if self._collector:
            self._collector.close()

    def _begin(self, name: str, batch: str | None, above: _Span | None, at_ns: int) -> _Span:
        if batch is None:
            return self._beneath(name, above or _Span(), at_ns)
        place = Place.of(self._ledger_id, batch)
        span = _Span()
        if self._collector and place.is_kept(self._percent):
            span.otlp = self._collector.begin(name, place, at_ns, is_whole=name == WHOLE)
        if place.is_kept(self._sentry_percent):
            span.sentry = _transaction(name, place, at_ns)
        conversation_id, _, batch_id = batch.partition(":")
        span.note({"conversation": conversation_id, "batch": batch_id})
        return span

    def _beneath(self, name: str, above: _Span, at_ns: int) -> _Span:
        span = _Span()
        if self._collector and above.otlp:
            is_outside = name in OUTSIDE
            span.otlp = self._collector.beneath(name, above.otlp, at_ns, is_outside=is_outside)
        if above.sentry:
            span.sentry = above.sentry.start_child(op=name, name=name)
        return span


def _transaction(name: str, place: Place, at_ns: int) -> "SentrySpan":
    """Return a span of Sentry's own; what stands directly below the whole is a transaction."""
    ids = {"trace_id": f"{place.trace_id:032x}"}
    ids["span_id" if name == WHOLE else "parent_span_id"] = f"{place.span_id:016x}"
    given: dict[str, Any] = {"op": name, "name": name, "sampled": True, **ids}
    return sentry_sdk.start_transaction(start_timestamp=_moment(at_ns), **given)


def _moment(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1_000_000_000, UTC)


def traces_of(settings: Settings, role: str, ledger_id: str, channels: Mapping[str, str]) -> Traces:
    """Return what keeps the spans of this process, or nothing where no setting asks for it.

    ``channels``: by account. Call after the process forked. Raise ConfigurationError if the
    packages are not installed.
    """
    if role not in {"web", "worker"}:
        return Traces()
    for_sentry = settings.sentry_dsn and settings.sentry_traces_percent
    if not (settings.traces_url or for_sentry):
        return Traces()
    collector = None
    if settings.traces_url:
        require(settings)
        from runtime.otlp import Collector  # noqa: PLC0415 - an extra; costs nothing unless asked

        collector = Collector(settings, role)
    return KeptTraces(settings, ledger_id, collector, channels)


def require(settings: Settings) -> None:
    """Raise ConfigurationError if TRACES_URL needs packages that are not installed."""
    if not settings.traces_url:
        return
    try:
        import runtime.otlp  # noqa: F401, PLC0415
    except ImportError:
        problem = "needs the extra traces: pip install --require-hashes -r requirements-traces.txt"
        raise ConfigurationError("settings", f"TRACES_URL: {problem}") from None


def about_model(table: object) -> dict[str, _Value]:
    """Return what a span says of a question to the model of ``[account.model]``."""
    if not isinstance(table, RemoteModel):
        return {}
    provider = getattr(table, "provider", "")
    return {
        "operation": "chat",
        "provider": _PROVIDERS.get(provider, provider),
        "model": table.model,
        "output_tokens_max": table.output_tokens_max,
    }
