"""A share of the inputs over HTTP, and raw bytes: no worker dies or grows, no log repeats them."""

import http.client
import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from hypothesis import strategies as st

from batching.inspect import counters
from batching.model import CANARY_ACCOUNT
from runtime.build import Runtime
from tests.fuzz.bodies import MARK
from tests.fuzz.conftest import Fuzz
from tests.fuzz.deliveries import SHARES, Delivery, deliveries
from tests.fuzz.judge import PRIVATE, REFUSALS, Answer, Judge
from tests.processes import Guard, started
from tests.web.server import WebServer
from tests.webhooks import APP_SECRET, CLOUD, body, change, signature, text_message
from web.webhooks import BODY_BYTES_MAX

pytestmark = pytest.mark.slow

#: Of all inputs, one in so many goes over HTTP, and one in so many as bytes that are no HTTP.
HTTP_SHARE, BYTES_SHARE = 10, 20
#: Bodies are cut into pieces of so many bytes where they are sent in chunks.
CHUNK = 700
TIMEOUT_S = 60
#: How often the workers are weighed, in requests.
WEIGH_EVERY = 10
#: Memory may differ by so much between an early and the last tenth: arenas, not leaks.
GROWTH_MAX = 1.3


def raw_request(delivery: Delivery) -> bytes:
    """Return the bytes of a request, odd headers and all."""
    query = f"?{delivery.query}" if delivery.query else ""
    headers = {"Host": "x", "Connection": "close"} | dict(delivery.headers)
    content = delivery.raw
    if delivery.chunked:
        headers["Transfer-Encoding"] = "chunked"
        pieces = [content[n : n + CHUNK] for n in range(0, len(content), CHUNK)]
        content = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    else:
        headers.setdefault("Content-Length", str(len(content)))
    lines = [f"{delivery.method} {delivery.path}{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + content


def talk(server: WebServer, raw: bytes, method: str = "POST") -> Answer | None:
    """Send bytes, end the sending side, return the answer; None if the server just closed."""
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=TIMEOUT_S) as connection:
        try:
            connection.sendall(raw)
            # A client that announced more than it sends is not waited for.
            connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection, method=method)
            response.begin()
            body = response.read()
        except (http.client.BadStatusLine, OSError):
            return None
        return Answer(
            response.status, {name.lower(): value for name, value in response.headers.items()}, body
        )


class Workers:
    """The worker processes of a server: who they are, and how their memory goes."""

    def __init__(self, server: WebServer) -> None:
        self._master = server.process.group
        self._weights: list[int] = []

    def pids(self) -> set[int]:
        """Return the workers' process ids."""
        return set(map(int, _printed("pgrep", "-P", str(self._master)).split()))

    def weigh(self) -> None:
        """Note the memory of all workers together, KiB."""
        printed = _printed("ps", "-o", "rss=", "-p", ",".join(map(str, self.pids())))
        self._weights.append(sum(map(int, printed.split())))

    def growth(self) -> tuple[float, float]:
        """Return the medians of an early and of the last tenth of the notes, KiB.

        The first fifth is the warming up.
        """
        tenth, warm = max(1, len(self._weights) // 10), len(self._weights) // 5
        return median(self._weights[warm : warm + tenth]), median(self._weights[-tenth:])


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def server(
    environ: dict[str, str],
    runtime: Runtime,  # noqa: ARG001 - makes the ledger before the workers do
    tmp_path: Path,
    guard: Guard,
) -> Iterator[WebServer]:
    running = WebServer(environ, tmp_path, guard)
    with started(running):
        yield running


class OverHttp:
    """Sends deliveries to a server, and weighs its workers now and then."""

    def __init__(self, server: WebServer) -> None:
        self._server = server
        self.workers = Workers(server)
        self._sent = 0

    def __call__(self, delivery: Delivery) -> Answer:
        """Return the answer to one delivery."""
        self._sent += 1
        if self._sent % WEIGH_EVERY == 0:
            self.workers.weigh()
        raw = raw_request(delivery)
        answer = talk(self._server, raw, delivery.method)
        is_unread = not delivery.authentic or len(delivery.raw) > BODY_BYTES_MAX
        if answer is None and is_unread:
            # Refused before the body was read: what still comes is met by a reset, which may
            # overtake the answer. A client that waits with its body sees it.
            head, end, _ = raw.partition(b"\r\n\r\n")
            answer = talk(self._server, head + end, delivery.method)
        assert answer is not None
        return answer


def check_log(server: WebServer) -> None:
    """Check that the log is JSON and repeats no input and reports no fault of ours."""
    log = server.process.log()
    assert [word for word in (*PRIVATE, "request.failed", "internal") if word in log] == []
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())


def test_no_request_over_http_breaks_the_promise(
    server: WebServer, runtime: Runtime, fuzz: Fuzz
) -> None:
    canary = runtime.accounts.config(CANARY_ACCOUNT)
    assert canary is not None
    over_http = OverHttp(server)
    judge, workers = Judge(runtime.store, over_http), over_http.workers
    pids = workers.pids()

    names = [name for name, share in SHARES.items() for _ in range(18 // share)]
    mix = st.one_of([deliveries(name, canary.webhook_secrets[0]) for name in names])
    done = fuzz.run(mix, judge.judge, share=HTTP_SHARE)

    workers.weigh()
    early, late = workers.growth()
    assert workers.pids() == pids
    assert late <= early * GROWTH_MAX
    check_log(server)
    fuzz.report("over HTTP", done, judge.tally, f"workers {early:.0f} -> {late:.0f} KiB")


GOOD = json.dumps(body(change(text_message()))).encode()
HEADERS = f"X-Hub-Signature-256: {signature(GOOD, APP_SECRET)}\r\nContent-Type: application/json"
#: What a request is made of, right and wrong; some of it drawn is one by chance.
PIECES = st.sampled_from(
    [
        *(f"POST {CLOUD} HTTP/1.1\r\n".encode(), b"GET /livez HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n"),
        *(b"Host: x\r\n", f"{HEADERS}\r\n".encode(), b"Transfer-Encoding: chunked\r\n", b"\r\n"),
        *(b"Content-Length: %d\r\n" % len(GOOD), b"Content-Length: 0\r\n", GOOD, GOOD[:20]),
        *(b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffff\r\n", b"-1\r\n", b"1;x=\xff\r\n1\r\n"),
        *(b"\x00", b"\xff" * 9, MARK.encode(), f"X-{MARK}: {MARK}\r\n".encode(), b" folded\r\n"),
        *(b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n", b"\n", b":\r\n"),
        *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", b"a: b\r\n"),
        *(b"X-A: 1\r\n" * 60, b"X-A: " + b"a" * 5_000 + b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00"),
    ]
)


def test_no_bytes_whatever_break_the_server(
    server: WebServer, runtime: Runtime, fuzz: Fuzz
) -> None:
    workers, tally = Workers(server), Counter[int]()
    pids = workers.pids()
    wanted = [f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\n{HEADERS}\r\n".encode()]

    def check(pieces: list[bytes]) -> None:
        answer = talk(server, b"".join(pieces), method="GET")
        # A client that leaves in the middle of a head is not answered.
        tally[answer.status if answer else 0] += 1
        if answer is None or answer.status in {200, 100}:
            return
        assert answer.status in REFUSALS, answer
        assert set(json.loads(answer.body)["error"]) == {"code", "message"}
        assert [word for word in PRIVATE if word.encode() in answer.body] == []

    length = b"Content-Length: %d\r\n\r\n" % len(GOOD)
    heads = st.sampled_from([wanted, [*wanted, length, GOOD], [b"GET /livez HTTP/1.1\r\n"], []])
    parts = st.lists(PIECES | st.binary(max_size=8), max_size=8)
    done = fuzz.run(st.tuples(heads, parts).map(lambda p: p[0] + p[1]), check, share=BYTES_SHARE)

    assert workers.pids() == pids
    assert {200, 400} <= set(tally)
    check_log(server)
    # The one good message got through or did not, however often it was given.
    assert sum(counted.accepted for counted in counters(runtime.store)) <= 1
    fuzz.report("bytes, over HTTP", done, tally)
