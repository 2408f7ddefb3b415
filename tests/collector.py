"""A collector of traces: takes spans by OTLP over HTTP as real ones do, and keeps them all."""

import gzip
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.http_server import HttpServer, Request


@dataclass(frozen=True, slots=True)
class Span:
    """One span. ``parent``: "" for the one above all others. ``ms``: how long it took."""

    name: str
    trace: str
    id: str
    parent: str
    role: str
    ms: float
    failed: bool
    about: dict[str, Any]


class Collector(HttpServer):
    """Listens on the loopback; ``traces_url`` leads there."""

    @property
    def traces_url(self) -> str:
        return f"{self.url}/v1/traces"

    @property
    def spans(self) -> list[Span]:
        """Return all that came, in order."""
        return [span for request in [*self.requests] for span in _spans(request)]

    @property
    def text(self) -> str:
        """Return all that ever came, headers too, as text."""
        bodies = [f"{it.headers}\n{MessageToJson(_decoded(it))}" for it in [*self.requests]]
        return "\n".join(bodies)

    def trace_of(self, batch: str) -> list[Span]:
        """Return the spans of a batch: of its trace, if there is one."""
        ids = {it.trace for it in self.spans if it.about.get("ai_admin.batch") == batch}
        return [it for it in self.spans if it.trace in ids]


def _decoded(request: Request) -> ExportTraceServiceRequest:
    is_packed = request.headers.get("content-encoding") == "gzip"
    decoded = ExportTraceServiceRequest()
    decoded.ParseFromString(gzip.decompress(request.body) if is_packed else request.body)
    return decoded


def _spans(request: Request) -> list[Span]:
    return [
        Span(
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            role=_attributes(resource.resource.attributes)["ai_admin.role"],
            ms=(span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000,
            failed=span.status.code == Status.STATUS_CODE_ERROR,
            about=_attributes(span.attributes),
        )
        for resource in _decoded(request).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(given: Any) -> dict[str, Any]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in given}
