"""What a fake server is asked, and the ways in which it can be told to answer or to fail."""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Request:
    """One request as it came in. Times are ns of the monotonic clock; ``done_ns`` is 0 until then.

    ``body`` is the decoded JSON, None where the bytes were none.
    """

    path: str
    headers: Mapping[str, str]
    body: Any
    came_ns: int = field(default_factory=time.monotonic_ns)
    done_ns: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with a status and a body: bytes as they are, anything else as JSON."""

    status: int = 200
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def payload(self) -> bytes:
        """Return the bytes of the body."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the caller waiting until ``released`` is set; then ``answer``, None for the default."""

    answer: Answer | None = None
    released: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Hang:
    """Take the request and never answer it."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Take the request and reset the connection."""


@dataclass(frozen=True, slots=True)
class Drip:
    """Answer 200 with a blank every 50 ms and never with the rest."""


Behaviour = Answer | Hold | Hang | Reset | Drip
