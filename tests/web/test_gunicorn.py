"""What only the real server shows: chunks, limits, logs, the end."""

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
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
from tests.webhooks import CLOUD, JSON, body, change, counts, signature, text_message
from web.webhooks import BODY_BYTES_MAX

#: As gunicorn.conf.py says.
WORKERS = 2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(
    valkey: ValkeyServer, guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    valkey.empty()  # a ledger that another module made, with another privacy key, is refused
    directory = tmp_path_factory.mktemp("web")
    running = WebServer(environ_of(valkey, write_accounts(directory)), directory, guard)
    running.start()
    yield running
    running.process.kill()


@pytest.fixture(autouse=True)
def _empty(client: redis.Redis) -> None:
    """Every test begins with an empty ledger."""


def post(server: WebServer, raw: bytes, *, chunked: bool = False) -> httpx2.Response:
    content = iter([raw[:1000], raw[1000:]]) if chunked else raw
    headers = JSON | {"X-Hub-Signature-256": signature(raw)}
    return httpx2.post(server.url + CLOUD, content=content, headers=headers, timeout=20)


def padded(length: int) -> bytes:
    raw = json.dumps(body(change(text_message()))).encode()
    return raw + b" " * (length - len(raw))


@pytest.mark.parametrize("chunked", [False, True])
def test_largest_body_is_taken_however_it_is_sent(server: WebServer, *, chunked: bool) -> None:
    result = post(server, padded(BODY_BYTES_MAX), chunked=chunked)

    assert (result.status_code, result.json()) == (200, counts(accepted=1))


@pytest.mark.parametrize("chunked", [False, True])
def test_client_is_told_that_its_body_is_too_large(server: WebServer, *, chunked: bool) -> None:
    result = post(server, padded(BODY_BYTES_MAX + 1), chunked=chunked)

    assert result.status_code == 413
    assert result.json()["error"]["code"] == "body_too_large"


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


@pytest.mark.parametrize("chunk", [b"zz\r\n{}\r\n", b"1\r\n{}\r\n", b"-1\r\n{}\r\n"])
def test_broken_chunks_are_the_clients_fault(server: WebServer, chunk: bytes) -> None:
    head = f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    answer = server.talk(head + chunk + b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Traceback" not in answer


@pytest.mark.parametrize("length", [b"many", b"-1", b"1, 2", b"9" * 40])
def test_length_that_is_no_length_is_the_clients_fault(server: WebServer, length: bytes) -> None:
    head = f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\n".encode()

    answer = server.talk(head + b"Content-Length: " + length + b"\r\n\r\n{}")

    assert answer.split(b" ")[1] in {b"400", b"413"}
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    "head",
    [
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
    ],
    ids=lambda head: head[:40].decode(),
)
def test_what_is_no_http_is_refused_in_the_same_form(server: WebServer, head: bytes) -> None:
    """gunicorn's own page and log line would quote the request."""
    answer = server.talk(head + b"\r\nHost: x\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    _, _, content = answer.partition(b"\r\n\r\n")
    assert json.loads(content)["error"]["code"] == "bad_request"
    assert b"guessed" not in answer
    assert "guessed" not in server.process.log()


def test_unknown_method_is_refused(server: WebServer) -> None:
    answer = server.talk(f"BREW {CLOUD} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())

    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 405 "))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez?" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 5_000 + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 60 + b"\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX Space: 1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ],
    ids=["address", "header", "headers", "name", "two lengths"],
)
def test_head_beyond_the_limits_is_refused(server: WebServer, head: bytes) -> None:
    answer = server.talk(head)

    assert answer.split(b" ")[1] in {b"400", b"414", b"431"}
    assert b"Traceback" not in answer


def test_slow_and_idle_clients_do_not_stop_webhooks(server: WebServer) -> None:
    """More of them than a server with threads has threads: each costs a greenlet, no more."""
    half_head = f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\n".encode()
    begun = [b"", half_head, half_head + b"Content-Length: 1000\r\n\r\n{"]
    with contextlib.ExitStack() as lines:
        for said in begun * 50:
            line = lines.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            line.sendall(said)

        result = post(server, padded(2_000))

    assert (result.status_code, result.json()) == (200, counts(accepted=1))


@pytest.mark.parametrize("said", [b"", f"POST {CLOUD} HTTP/1.1\r\nHost: x\r\n".encode()])
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


def test_configuration_imports_nothing_of_the_application() -> None:
    """What the master imports is handed on to every worker that it ever starts."""
    lines = (ROOT / "gunicorn.conf.py").read_text().splitlines()

    imports = [line for line in lines if line.startswith(("import ", "from "))]
    roots = {line.split()[1].partition(".")[0] for line in imports}
    assert roots - {"gunicorn"} <= sys.stdlib_module_names
