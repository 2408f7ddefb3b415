"""``canary``: send one synthetic message through a web process now, and see it answered."""

import re
import time
import uuid
from argparse import ArgumentParser
from dataclasses import asdict, dataclass

from canary.channel import webhook_secret
from canary.probe import Probe
from cli.common import (
    EXIT_ACT,
    EXIT_OK,
    Request,
    UsageError,
    open_store,
    span,
    up_to,
    write,
    write_json,
)
from runtime.clients import http_client
from runtime.settings import HTTP_URL, load_settings

#: Longer than BATCH_LEASE_MS by default: a worker that died with the canary before ours must not
#: be taken for a web process that fails.
WAIT_MS, WAIT_MS_MAX = 60_000, 600_000
#: How often it is looked whether the answer is there, ms.
LOOK_MS = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. ``round_trip_ms``: by the server's clock; ``step``: "" if answered."""

    url: str
    message_id: str
    round_trip_ms: int | None
    step: str


def arguments(parser: ArgumentParser) -> None:
    """Add where it is sent, and for how long it is waited for."""
    parser.add_argument(
        "--url", metavar="URL", help="the web process, http://127.0.0.1:8001; default: CANARY_URL"
    )
    parser.add_argument(
        "--wait-ms",
        type=up_to(WAIT_MS_MAX),
        default=WAIT_MS,
        metavar="N",
        help=f"how long to wait for the answer, 1..{WAIT_MS_MAX}; default: {WAIT_MS}",
    )


def run(request: Request) -> int:
    """Print the round trip; 1 if there was none, with the step where the message was last seen.

    Raise UsageError, ConfigurationError or LedgerUnavailableError.
    """
    settings = load_settings(request.environ)
    url = request.arguments.url or settings.canary_url
    if not re.fullmatch(HTTP_URL, url):
        raise UsageError("name a web process by --url, such as http://127.0.0.1:8001")
    store = open_store(request.environ)
    with http_client() as http:
        probe = Probe(store, secret=webhook_secret(settings.privacy_key), http=http)
        outcome = _send(probe, url.rstrip("/"), request.arguments.wait_ms)
    if request.as_json:
        write_json({"ok": outcome.round_trip_ms is not None} | asdict(outcome))
    elif outcome.round_trip_ms is None:
        write([f"NOT answered, through {outcome.url}; last seen: {outcome.step}"])
    else:
        write([f"Answered after {span(outcome.round_trip_ms)}, through {outcome.url}."])
    return EXIT_ACT if outcome.round_trip_ms is None else EXIT_OK


def _send(probe: Probe, url: str, wait_ms: int) -> Outcome:
    """Send one and wait; one that was refused is not waited for."""
    message_id = uuid.uuid4().hex
    until = time.monotonic() + wait_ms / 1000
    posted_ms = probe.now_ms()
    refused = probe.post(url, message_id)
    while not (answered_ms := probe.answered_ms(message_id)):
        if refused or time.monotonic() >= until:
            return Outcome(url, message_id, None, probe.last_step(message_id, refused))
        time.sleep(LOOK_MS / 1000)
    return Outcome(url, message_id, answered_ms - posted_ms, "")
