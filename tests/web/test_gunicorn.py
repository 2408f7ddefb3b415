"""What only the real server shows: chunks, limits, logs, the end."""

import contextlib
import json
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import httpx2
import pytest
import redis

from batching.keys import FLEET
from demo.child import ROOT
from tests.processes import Guard
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually
from tests.web.conftest import environ_of, write_accounts
from tests.web.server import WebServer
from tests.webhooks import CLOUD, counts, padded, signed
from web.webhooks import BODY_BYTES_MAX

#: As gunicorn.conf.py says.
WORKERS = 2

END = b"\r\n\r\n"
POST = f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\n".encode()
SIGNED = POST + b"X-Hub-Signature-256: sha256=" + b"0f" * 32 + b"\r\n"
CHUNKED = SIGNED + b"Transfer-Encoding: chunked" + END
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
#: A secret in each place of a request, and each limit of a head.
NO_HTTP = [
    *(
        line + b"\r\nHost: x" + END
        for line in (
            b"GET /7999?token=guessed-token",
            b"GET /7999?token=guessed-token HTTP/9.9",
            b"guessed-token / HTTP/1.1",
            b"POST /" + b"guessed-token" * 200 + b" HTTP/1.1",
            b"POST / HTTP/1.1\r\nguessed-token",
            b"POST / HTTP/1.1\r\nguessed token: 1",
            b"POST / HTTP/1.1\r\nX-A: 1\r\n guessed-token",
            b"POST / HTTP/1.1\r\nX-A: " + b"guessed-token" * 400,
            b"POST / HTTP/1.1\r\nTransfer-Encoding: guessed-token",
            b"POST / HTTP/1.1\r\nExpect: guessed-token",
            b"POST / HTTP/1.1\r\nContent-Length: guessed-token",
            f"BREW {CLOUD} HTTP/1.1\r\nConnection: close".encode(),
        )
    ),
    POST + b"Content-Length: -1" + END + b"{}",
    POST + b"Content-Length: 1, 2" + END + b"{}",
    POST + b"Content-Length: 2\r\nContent-Length: 3" + END + b"{}",
    LIVEZ + b"X-Many: 1\r\n" * 60 + b"\r\n",
    # None of them too large by itself.
    LIVEZ + (b"X-A: " + b"a" * 4_000 + b"\r\n") * 45 + b"\r\n",
]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _empty(client: redis.Redis) -> None:
    """Every test begins with an empty ledger."""


def post(server: WebServer, raw: bytes, *, chunked: bool = False) -> httpx2.Response:
    content = iter([raw[:1000], raw[1000:]]) if chunked else raw
    return httpx2.post(server.url + CLOUD, content=content, headers=signed(raw), timeout=20)


@pytest.mark.parametrize("chunked", [False, True])
def test_largest_body_is_taken_and_no_larger_one_however_it_is_sent(
    server: WebServer, *, chunked: bool
) -> None:
    taken = post(server, padded(BODY_BYTES_MAX), chunked=chunked)
    refused = post(server, padded(BODY_BYTES_MAX + 1), chunked=chunked)

    assert (taken.status_code, taken.json()) == (200, counts(accepted=1))
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")


def test_sender_of_too_large_a_body_can_send_all_of_it_and_reads_why(server: WebServer) -> None:
    """A proxy writes first and reads then: a reset connection would tell it to ask elsewhere."""
    raw = b" " * (BODY_BYTES_MAX + 1_000_000)
    head = (
        f"POST {CLOUD} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"
        f"Content-Length: {len(raw)}\r\n\r\n"
    )

    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
            client.sendall(head.encode() + raw)
            answer = client.recv(1000)

        assert answer.split(b" ")[1] == b"413"


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        *((request, (400, "bad_request")) for request in NO_HTTP),
        (POST + b"Content-Length: " + b"9" * 40 + END + b"{}", (413, "body_too_large")),
        (CHUNKED + b"zz\r\n{}\r\n0" + END, (400, "body_incomplete")),
        (CHUNKED + b"1\r\n{}\r\n0" + END, (400, "body_incomplete")),
        (CHUNKED + b"-1\r\n{}\r\n0" + END, (400, "body_incomplete")),
    ],
    ids=lambda given: given[:60].decode() if isinstance(given, bytes) else None,
)
def test_what_is_no_http_or_beyond_a_limit_is_refused_in_the_same_form(
    server: WebServer, raw: bytes, refusal: tuple[int, str]
) -> None:
    """gunicorn's own page and log line would quote the request."""
    answer = server.talk(raw)

    head, _, content = answer.partition(END)
    assert (int(head.split(b" ")[1]), json.loads(content)["error"]["code"]) == refusal
    assert b"guessed" not in answer
    assert b"Traceback" not in answer
    assert "guessed" not in server.process.log()


#: Would be answered 404 if it were taken for the next request.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x" + END
LENGTH = b"Content-Length: %d" % len(SMUGGLED) + END
KEEP = b"Connection: keep-alive\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (LIVEZ.replace(b"GET", b"POST") + LENGTH + SMUGGLED, 405),
        (LIVEZ + LENGTH + SMUGGLED, 200),
        (LIVEZ.replace(b"1.1", b"1.0") + KEEP + LENGTH + SMUGGLED, 200),
        (LIVEZ + b"Transfer-Encoding: chunked" + END + b"%x\r\n" % len(SMUGGLED) + SMUGGLED, 200),
        (POST.replace(CLOUD.encode(), b"/nowhere") + LENGTH + SMUGGLED, 404),
        (POST + LENGTH + SMUGGLED, 401),
        (POST + b"Content-Length: 3000000" + END + SMUGGLED, 401),
        (POST + b"Content-Length: 9999999999" + END + SMUGGLED, 413),
        # What is sent by who waits for a word of ours need not be sent at all.
        *(
            (head + b"Expect: 100-continue\r\nContent-Length: 3000000" + END, status)
            for head, status in (
                (POST, 401),
                (LIVEZ, 200),
                (POST + b"X-Webhook-Secret: x\r\n", 401),
            )
        ),
    ],
)
def test_body_that_is_not_read_ends_its_connection(
    server: WebServer, raw: bytes, status: int
) -> None:
    """gunicorn would read all of it before the next request, and copy it a thousand times."""
    answer = server.talk(raw)

    assert answer.count(b"HTTP/1.") == 1
    assert int(answer.split(b" ")[1]) == status
    assert b"\r\nConnection: close\r\n" in answer


def test_requests_of_one_connection_are_served_where_bodies_are_read(server: WebServer) -> None:
    raw = padded(200_000)
    head = b"".join(f"{name}: {value}\r\n".encode() for name, value in signed(raw).items())
    whole = POST + head + b"Content-Length: %d" % len(raw) + END + raw
    awaited = whole.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1)
    last = LIVEZ + b"Connection: close" + END

    answer = server.talk(whole + awaited + whole + last)

    statuses = [int(part.split(b" ")[1]) for part in answer.split(b"HTTP/1.1")[1:]]
    assert statuses == [200, 100, 200, 200, 200]


def test_slow_and_idle_clients_do_not_stop_webhooks(server: WebServer) -> None:
    """More of them than a server with threads has threads: each costs a greenlet, no more."""
    begun = [b"", POST, POST + b"Content-Length: 1000" + END + b"{"]
    with contextlib.ExitStack() as lines:
        for said in begun * 50:
            line = lines.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            line.sendall(said)

        result = post(server, padded(2_000))

    assert (result.status_code, result.json()) == (200, counts(accepted=1))


@pytest.mark.parametrize("said", [b"", POST])
def test_client_that_never_finishes_its_head_is_hung_up_on(server: WebServer, said: bytes) -> None:
    assert server.talk(said, timeout_s=30) == b""


def test_logs_are_json_without_query_strings(server: WebServer) -> None:
    """The query string of a challenge carries the verify token."""
    httpx2.get(server.url + CLOUD, params={"hub.verify_token": "guessed-token"}, timeout=20)
    httpx2.get(server.url + "/nowhere?token=guessed-token", timeout=20)

    lines = server.process.log().splitlines()

    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "guessed-token" not in server.process.log()


def test_strangers_do_not_fill_the_log(valkey: ValkeyServer, guard: Guard, tmp_path: Path) -> None:
    """journald drops what comes too fast, of the lines that matter too: a flood is a few, counted.

    By any process, whether the application refuses or the server does, and to the last one.
    """
    environ = environ_of(valkey, write_accounts(tmp_path)) | {"REDIS_URL": valkey.url(2)}
    server = WebServer(environ, tmp_path, guard)
    server.start()
    nobody = httpx2.Client(base_url=server.url, timeout=20)
    with nobody:
        for n in range(300):
            nobody.post(CLOUD, content=b"{}")
            nobody.post(f"/webhooks/venom/nobody-{n}", content=b"{}")
            nobody.get(CLOUD)
    for n in range(300):
        server.talk(f"GUESS-{n} / HTTP/9.{n}".encode() + END)
    server.process.terminate()

    counted: Counter[tuple[str, str]] = Counter()
    lines = [json.loads(line) for line in server.process.log().splitlines()]
    refusals = [line for line in lines if line["event"].startswith(("webhook.", "request."))]
    for line in refusals:
        counted[line["event"], line.get("reason", "")] += line["count"]
    assert counted == {
        ("webhook.refused", "signature"): 300,
        ("webhook.refused", "secret"): 300,
        ("webhook.refused", "verify_token"): 300,
        ("webhook.unknown_account", ""): 300,
        ("request.unreadable", ""): 300,
    }
    # At once and at the end, by each process.
    assert len(refusals) <= 2 * WORKERS * len(counted)


def test_server_ends_cleanly_and_leaves_the_fleet(
    valkey: ValkeyServer, guard: Guard, tmp_path: Path
) -> None:
    # A database without the other server of these tests.
    environ = environ_of(valkey, write_accounts(tmp_path)) | {"REDIS_URL": valkey.url(2)}
    server = WebServer(environ, tmp_path, guard)
    server.start()
    with httpx2.Client(base_url=server.url) as browser, valkey.client(2) as ledger:
        # An idle connection that is kept open must not hold up the end.
        browser.get("/livez")
        eventually(lambda: ledger.hlen(FLEET) == WORKERS, what="all workers announced")

        code = server.process.terminate()

        left = ledger.hlen(FLEET)
    assert (code, left) == (0, 0)


def test_workers_count_together_and_forget_nothing_of_who_died(
    valkey: ValkeyServer, guard: Guard, tmp_path: Path
) -> None:
    """Whoever of them is scraped; what is left of an installation before is not in it."""
    environ = environ_of(valkey, write_accounts(tmp_path)) | {"REDIS_URL": valkey.url(2)}
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "counter_999999999.db").write_bytes(b"left behind")
    web = WebServer(environ, tmp_path, guard)
    web.start()
    with valkey.client(2) as ledger:
        eventually(lambda: ledger.hlen(FLEET) == WORKERS, what="all workers announced")
        before = webhooks_of(web)
        for _ in range(20):
            httpx2.post(f"{web.url}{CLOUD}", content=b"{}", headers=signed(b"[]"))
        counted = {webhooks_of(web) for _ in range(20)}
        os.kill(int(ledger.hkeys(FLEET)[0].decode().rpartition(":")[2]), signal.SIGKILL)
        eventually(lambda: ledger.hlen(FLEET) == WORKERS + 1, what="another worker")
        counted.add(webhooks_of(web))
    assert web.process.terminate() == 0

    assert counted == {before + 20}


def webhooks_of(web: WebServer) -> float:
    """Return how many webhooks were refused, as whichever worker answers says."""
    text = httpx2.get(f"{web.url}/metrics").text
    line = 'ai_admin_webhooks_total{channel="whatsapp_cloud",status="401"} '
    return next(float(it.removeprefix(line)) for it in text.splitlines() if it.startswith(line))


def test_configuration_imports_nothing_of_the_application() -> None:
    """What the master imports is handed on to every worker that it ever starts."""
    lines = (ROOT / "gunicorn.conf.py").read_text().splitlines()

    imports = [line for line in lines if line.startswith(("import ", "from "))]
    roots = {line.split()[1].partition(".")[0] for line in imports}
    assert roots - {"gunicorn"} <= sys.stdlib_module_names
