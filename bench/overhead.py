"""What we add to the idle window: from the moment a batch is due until its answer arrives."""

import threading
import time
from contextlib import ExitStack
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import redis

from batching.store import Store
from bench.figures import Figure, Scale, percentile
from bench.load import webhook
from bench.world import ACCOUNT, running, served, settings
from demo.child import SCHEDULER, worker
from tests.http_server import Reply, Request
from tests.outside import ModelApi, Outside, ProviderApi
from tests.waiting import eventually
from tests.webhooks import CLOUD, signed

MESSAGES = ("Hi", "can I book", "for tomorrow 15:00?")
#: How long the last answers may take to arrive, s.
ANSWERED_S_MAX = 60
#: Bursts that are not counted: connections are made, modules loaded.
WARM_UP = 20


class Arrivals(ProviderApi):
    """Takes every text. ``arrived_ms``: customer → when each of theirs came, wall clock, ms."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived_ms: dict[str, list[float]] = {}

    def default(self, request: Request) -> Reply:
        """Note the time of a text and take it."""
        now_ms = time.time() * 1000
        if customer := self.key_of(request):
            self.arrived_ms.setdefault(customer, []).append(now_ms)
        return super().default(request)


def measure(client: redis.Redis, redis_url: str, directory: Path, scale: Scale) -> list[Figure]:
    """Return the median and the tail over many conversations with the real processes."""
    client.flushall()
    provider = Arrivals()
    outside = Outside(ModelApi(), provider)
    environ = settings(directory, redis_url, outside.url, scale.idle_ms)
    try:
        with ExitStack() as stack:
            port = stack.enter_context(served("wsgi:application", environ, directory))
            stack.enter_context(running(worker(), environ, directory))
            stack.enter_context(running(SCHEDULER, environ, directory))
            _converse(port, client, provider, range(-WARM_UP, 0), environ, scale)
            due_ms = _converse(port, client, provider, range(scale.bursts), environ, scale)
    finally:
        outside.close()
    over_ms = [provider.arrived_ms[customer][0] - at_ms for customer, at_ms in due_ms.items()]
    sends = sum(len(provider.arrived_ms[customer]) for customer in due_ms)
    return [
        Figure("due → at the channel, p50", f"{percentile(over_ms, 50):.0f} ms", "at most 100 ms"),
        Figure("due → at the channel, p99", f"{percentile(over_ms, 99):.0f} ms", "at most 300 ms"),
        Figure("due → at the channel, worst", f"{max(over_ms):.0f} ms"),
        Figure("bursts of three messages", f"{len(due_ms):,}"),
        Figure("answers, one to each burst", f"{sends:,}", f"{len(due_ms):,}"),
        Figure("new bursts a second", f"{scale.bursts_per_s}"),
    ]


def _converse(
    port: int,
    client: redis.Redis,
    provider: Arrivals,
    numbers: range,
    environ: dict[str, str],
    scale: Scale,
) -> dict[str, float]:
    """Let customers write at a steady rate; when each burst became due, once all are answered."""
    store = Store(client, privacy_key=environ["PRIVACY_KEY"])
    due_ms: dict[str, float] = {}
    threads = []
    for number in numbers:
        customer = f"7000{number % 10**8:08d}"
        thread = threading.Thread(target=_burst, args=(port, customer, store, due_ms, scale))
        thread.start()
        threads.append(thread)
        time.sleep(1 / scale.bursts_per_s)
    for thread in threads:
        thread.join()
    eventually(
        lambda: due_ms.keys() <= provider.arrived_ms.keys(),
        what="all answers",
        deadline_s=ANSWERED_S_MAX,
    )
    return due_ms


def _burst(port: int, customer: str, store: Store, due_ms: dict[str, float], scale: Scale) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    for n, text in enumerate(MESSAGES):
        if n:
            time.sleep(scale.burst_pause_ms / 1000)
        body = webhook(customer, f"wamid.bench.{customer}.{n}", text)
        connection.request("POST", CLOUD, body, signed(body))
        answer = connection.getresponse()
        answer.read()
        # One that is kept may be closed by the server just as the next message is sent.
        connection.close()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"webhook: answered {answer.status}")
    due = store.peek(store.conversation_id(ACCOUNT, customer)).due_ms
    if due is None:
        raise RuntimeError("burst: collected before it was inspected; make idle_ms longer")
    due_ms[customer] = due
