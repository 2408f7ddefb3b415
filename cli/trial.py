"""``trial``: see a release on trial answer canaries, before it meets a customer."""

import time
from argparse import ArgumentParser

from canary.channel import webhook_secret
from canary.probe import Probe
from canary.trial import forget, run_trial
from cli.canary import POLL_MS, add_ms
from cli.common import Request, UsageError
from config.urls import is_http, shown_url
from runtime.build import store_of
from runtime.clients import http_client, redis_client

#: How long a burst may take, and for how long bursts are sent, ms.
WAIT_MS, LEAST_MS = 30_000, 3_000


def arguments(parser: ArgumentParser) -> None:
    """Add --url, --wait-ms, --least-ms and --forget."""
    parser.add_argument("--url", metavar="URL", help="the web on trial: http://127.0.0.1:8001")
    add_ms(parser, "--wait-ms", "how long a burst may take", default=WAIT_MS)
    add_ms(parser, "--least-ms", "how long bursts are sent at least", default=LEAST_MS)
    parser.add_argument(
        "--forget",
        action="store_true",
        help="before a trial: delete what the one before left, and send nothing",
    )


def run(request: Request) -> bool:
    """Print how many canaries came out; False if one did not, or more than once, with why."""
    settings = request.settings().model_copy(update={"trial": 1})
    typed = request.arguments
    store = store_of(settings, redis_client(settings.redis_url, "manage"))
    if typed.forget:
        forget(store)
        request.show({"ok": True}, ["What the trial before left is deleted."])
        return True
    if not typed.url or not is_http(typed.url):
        raise UsageError("name the web on trial by --url, such as http://127.0.0.1:8001")
    url = typed.url.rstrip("/")
    with http_client() as http:
        answered, wrong = run_trial(
            store,
            Probe(store, secret=webhook_secret(settings.privacy_key), http=http),
            url,
            wait_ms=typed.wait_ms,
            least_ms=typed.least_ms,
            pause=lambda: time.sleep(POLL_MS / 1000),
        )
    line = f"Passed: {answered} canaries were answered, each once, through {shown_url(url)}."
    if wrong:
        line = f"NOT passed, after {answered} canaries through {shown_url(url)}: {wrong}"
    request.show(
        {"ok": not wrong, "url": shown_url(url), "answered": answered, "step": wrong}, [line]
    )
    return not wrong
