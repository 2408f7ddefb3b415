"""``canary``: send a synthetic message through a web process now, and see it answered."""

import time
import uuid
from argparse import ArgumentParser

from canary.channel import webhook_secret
from canary.probe import Probe
from cli.common import Request, UsageError, up_to
from config.urls import is_http, shown_url
from runtime.clients import http_client
from runtime.units import span

#: Longer than the default BATCH_LEASE_MS: a worker that died with the canary before ours must not
#: look like a web process that fails.
WAIT_MS, WAIT_MS_MAX = 60_000, 600_000
POLL_MS = 50


def arguments(parser: ArgumentParser) -> None:
    """Add --url and --wait-ms."""
    parser.add_argument(
        "--url", metavar="URL", help="the web process, http://127.0.0.1:8001; default: CANARY_URL"
    )
    add_ms(parser, "--wait-ms", "how long to wait for the answer", default=WAIT_MS)


def add_ms(parser: ArgumentParser, option: str, what: str, *, default: int) -> None:
    """Add an option of a time, 1..WAIT_MS_MAX; ``what`` it is for the help."""
    parser.add_argument(
        option,
        type=up_to(WAIT_MS_MAX),
        default=default,
        metavar="N",
        help=f"{what}, 1..{WAIT_MS_MAX}; default: {default}",
    )


def run(request: Request) -> bool:
    """Print the round trip; False if there was none, with where the message was last seen."""
    settings = request.settings()
    url = request.arguments.url or settings.canary_url
    if not is_http(url):
        raise UsageError("name a web process by --url, such as http://127.0.0.1:8001")
    url, message_id = url.rstrip("/"), uuid.uuid4().hex
    store = request.open_store()
    with http_client() as http:
        probe = Probe(store, secret=webhook_secret(settings.privacy_key), http=http)
        round_trip_ms, step = _send(probe, url, message_id, request.arguments.wait_ms)
    where, answered = shown_url(url), round_trip_ms is not None
    document = {"message_id": message_id, "round_trip_ms": round_trip_ms, "step": step}
    line = f"NOT answered, through {where}; last seen: {step}"
    if round_trip_ms is not None:
        line = f"Answered after {span(round_trip_ms)}, through {where}."
    request.show({"ok": answered, "url": where} | document, [line])
    return answered


def _send(probe: Probe, url: str, message_id: str, wait_ms: int) -> tuple[int | None, str]:
    """Return the round trip by the server's clock, or None and where the message was last seen.

    A message that was refused is not waited for.
    """
    until, posted_ms = time.monotonic() + wait_ms / 1000, probe.now_ms()
    refused = probe.post(url, message_id)
    while not (answered_ms := probe.answered_ms(message_id)):
        if refused or time.monotonic() >= until:
            return None, probe.last_step(message_id, refused)
        time.sleep(POLL_MS / 1000)
    return answered_ms - posted_ms, ""
