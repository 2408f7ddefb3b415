"""Spans to a collector, by OpenTelemetry's SDK: OTLP over HTTP, from a bounded queue.

Imported only where TRACES_URL is set: its packages are the extra ``traces``. A collector that
hangs or is away costs spans, and no customer anything.
"""

import logging
import os
import platform
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import unquote

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from runtime.settings import Settings

if TYPE_CHECKING:
    from runtime.traces import Place

log = logging.getLogger(__name__)

#: So many spans wait at most, each about 1 KB; the oldest are left out.
QUEUE_MAX, BATCH_MAX = 4_096, 256
#: How often what waits is sent, and how long one try may take.
EVERY_MS, SEND_S_MAX = 1_000, 5
#: How long the end of a process waits for the last spans.
CLOSE_S_MAX = 2.0

#: The ids of the next span, where it is the one above all others.
_given: ContextVar["Place | None"] = ContextVar("given", default=None)


class Collector:
    """Makes spans and sends them to TRACES_URL from a thread of its own."""

    def __init__(self, settings: Settings, role: str) -> None:
        # Their words quote the collector's answer, once for each try; the exporter says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        resource: dict[str, str | int] = {
            "service.name": "ai-admin",
            "service.version": settings.release,
            "service.instance.id": f"{platform.node()}:{os.getpid()}",
            "deployment.environment.name": settings.environment,
            "host.name": platform.node(),
            "process.pid": os.getpid(),
            "ai_admin.role": role,
        }
        # Which traces are kept has been decided.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource({**resource}),
            shutdown_on_exit=False,
            id_generator=_Ids(),
        )
        exporter = _Exporter(
            endpoint=settings.traces_url,
            headers=headers_of(settings.traces_headers),
            timeout=SEND_S_MAX,
        )
        processor = BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE_MAX,
            schedule_delay_millis=EVERY_MS,
            max_export_batch_size=BATCH_MAX,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("ai-admin")

    def begin(self, name: str, place: "Place", at_ns: int, *, is_whole: bool) -> Span:
        """Return a span directly below that above all others; with ``is_whole`` that one."""
        token = _given.set(place if is_whole else None)
        above = NonRecordingSpan(
            SpanContext(
                place.trace_id, place.span_id, is_remote=True, trace_flags=TraceFlags.get_default()
            )
        )
        context = Context() if is_whole else set_span_in_context(above, Context())
        try:
            return self._tracer.start_span(name, context, start_time=at_ns)
        finally:
            _given.reset(token)

    def beneath(self, name: str, above: Span, at_ns: int, *, is_outside: bool) -> Span:
        """Return a span below another of this process."""
        kind = SpanKind.CLIENT if is_outside else SpanKind.INTERNAL
        context = set_span_in_context(above, Context())
        return self._tracer.start_span(name, context, kind, start_time=at_ns)

    def close(self) -> None:
        """Send what waits, for CLOSE_S_MAX at most."""
        # The SDK waits for 30 s.
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(CLOSE_S_MAX)


def fail(span: Span) -> None:
    """Mark a span as failed; an attribute has the code."""
    span.set_status(StatusCode.ERROR)


def headers_of(text: str) -> dict[str, str]:
    """Return the headers of TRACES_HEADERS, which has NAME=VALUE,... with escapes of addresses."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}


class _Ids(RandomIdGenerator):
    """Gives the span above all others the ids by which every process knows it."""

    def generate_trace_id(self) -> int:
        place = _given.get()
        return place.trace_id if place else super().generate_trace_id()

    def generate_span_id(self) -> int:
        place = _given.get()
        return place.span_id if place else super().generate_span_id()


class _Exporter(OTLPSpanExporter):
    """Says once that spans do not arrive, and once that they do again."""

    _is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. Never raises: what does not arrive is left out."""
        try:
            result = super().export(spans)
        except Exception:  # noqa: BLE001 - whatever its HTTP library raises
            result = SpanExportResult.FAILURE
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing and not self._is_failing:
            log.warning("traces.lost", extra={"count": len(spans)})
        elif self._is_failing and not is_failing:
            log.info("traces.resumed")
        self._is_failing = is_failing
        return result
