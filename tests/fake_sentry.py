"""A fake Sentry: takes envelopes and marks of releases as the real one does, and keeps them all."""

import gzip
import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from tests.http_server import LOOPBACK, Answer, HttpServer, Reply, Request, reset

#: The paths at which releases, and deploys of them, are announced.
RELEASES = re.compile(r"/api/0/organizations/[^/]+/releases/([^/]+/deploys/)?$")


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an envelope, such as an ``event`` or a ``check_in``; ``body``: its raw bytes.

    ``at_s``: when it came, by the monotonic clock.
    """

    kind: str
    body: bytes
    at_s: float = field(default_factory=time.monotonic, compare=False)

    @property
    def json(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


@dataclass(frozen=True, slots=True)
class Mark:
    """One call that announced a release or a deploy."""

    path: str
    authorization: str
    body: Any


class FakeSentry(HttpServer):
    """Listens at ``address``, by default a port of the loopback; ``dsn`` leads there.

    ``status`` is what every envelope is answered with; while it is ``away`` nothing is. An
    envelope that is not answered with 200 is not among ``items``, only in ``text``: it came.
    """

    def __init__(self, address: tuple[str, int] = LOOPBACK) -> None:
        self.status = 200
        self.away = False
        self.items: list[Item] = []
        self.marks: list[Mark] = []
        self._received: list[str] = []
        super().__init__(address)

    @property
    def dsn(self) -> str:
        return f"http://public@{self.address}/1"

    @property
    def text(self) -> str:
        """Return all that ever came: paths, headers and bodies, unpacked."""
        with self._lock:
            return "\n".join(self._received)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Return the items of a kind, decoded, in the order in which they came."""
        with self._lock:
            return [item.json for item in self.items if item.kind == kind]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.of_kind("event")

    @property
    def messages(self) -> list[str]:
        """Return the message of each event: the constant name of what was logged."""
        return [str((event.get("logentry") or {}).get("message", "")) for event in self.events]

    def respond(self, request: Request) -> Answer:
        if self.away:
            return reset
        if request.path == "/api/1/envelope/":
            return Reply(self._take(request))
        if RELEASES.match(request.path):
            sender = request.headers.get("authorization", "")
            with self._lock:
                self.marks.append(Mark(request.path, sender, request.json))
            return Reply(201)
        return Reply(404)

    def _take(self, request: Request) -> int:
        is_packed = request.headers.get("content-encoding") == "gzip"
        raw = gzip.decompress(request.body) if is_packed else request.body
        with self._lock:
            head = f"{request.path}\n{request.headers}"
            self._received += [head, raw.decode("utf-8", "backslashreplace")]
            if self.status == 200:
                self.items += items_of(raw)
            return self.status


def items_of(envelope: bytes) -> list[Item]:
    """Return the items of an envelope: after its own header, a header and a body for each."""
    items = []
    _, _, rest = envelope.partition(b"\n")
    while rest.strip():
        head, _, rest = rest.partition(b"\n")
        header = json.loads(head)
        length = header.get("length", len(rest.partition(b"\n")[0]))
        items.append(Item(str(header["type"]), rest[:length]))
        rest = rest[length:].removeprefix(b"\n")
    return items


_LEVELS = {"fatal", "error", "warning", "info", "debug"}
_TAG = re.compile(r"[a-zA-Z0-9_.:-]{1,200}")
#: Tags that Sentry fills in itself; as tags of ours it throws them away.
_RESERVED = {"release", "dist", "user", "filename", "function", "environment"}


def oddities(event: dict[str, Any]) -> list[str]:
    """Return what Sentry would throw away or cut in an event.

    By "Event Payloads" and its pages (develop.sentry.dev/sdk/foundations/envelopes/event-payloads)
    and the limits that Relay sets (getsentry/relay, relay-event-schema).
    """
    entry, tags = event.get("logentry") or {}, event.get("tags") or {}
    crumbs = (event.get("breadcrumbs") or {}).get("values", [])
    checks = {
        "event_id": re.fullmatch(r"[0-9a-f]{32}", event["event_id"]),
        "timestamp": isinstance(event["timestamp"], str | int | float),
        "level": event["level"] in _LEVELS,
        "logentry": set(entry) <= {"message", "formatted", "params"},
        "title": 0 < len(str(entry.get("formatted", "-")).partition("\n")[0]) <= 256,
        "text": len(str(entry.get("formatted", ""))) <= 8_192,
        "fingerprint": all(isinstance(it, str) for it in event.get("fingerprint", [])),
        "user": set(event.get("user", {"id": ""})) == {"id"},
        "tag's name": all(map(_TAG.fullmatch, tags)) and _RESERVED.isdisjoint(tags),
        "tag's value": all(
            isinstance(it, str) and 0 < len(it) <= 200 and "\n" not in it for it in tags.values()
        ),
        "contexts": all(isinstance(it, dict) for it in (event.get("contexts") or {}).values()),
        "breadcrumbs": len(crumbs) <= 100
        and all(it["timestamp"] and it.get("level", "info") in _LEVELS for it in crumbs),
        "size": len(json.dumps(event)) <= 1_000_000,
    }
    return [name for name, is_fine in checks.items() if not is_fine]
