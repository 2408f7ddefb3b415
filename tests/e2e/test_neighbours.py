"""Neighbours are answered meanwhile: of accounts whose calls hang, of connections that say little.

Order is asserted, never time: how far the hanging account has come when the neighbour is answered.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.http_server import hang
from tests.stack.accounts import BARBER, SLUGGISH
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: The one worker process has 16 threads: ten generate, four send, two flush.
GENERATING, SENDING = 10, 4
#: Several times what the threads can hang on at once.
CROWD = 40
#: Several times what would stop a server with a thread for each connection.
SLOW, IDLE = 200, 500
#: Connections that ask twice a second and read nothing: enough to be many, and few enough that two
#: processors, which other tests use too, can refuse them all.
ASKING = 100
#: How often each slow client sends its next byte, s: less than the server waits for a head.
DRIP_S = 0.5
ORDINARY = 10

HEAD = b"POST /webhooks/whatsapp_cloud HTTP/1.1\r\nHost: x\r\n"
WITH_BODY = HEAD + b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"


@pytest.mark.parametrize(
    ("api", "threads"), [("model", GENERATING), ("provider", SENDING)], ids=["model", "provider"]
)
def test_api_that_hangs_does_not_stop_another_accounts_answers(
    stack: Stack, api: str, threads: int
) -> None:
    # The worker knows a second account: without one no threads are kept free.
    neighbours = [stack.customer(BARBER) for _ in range(3)]
    neighbours[0].writes(neighbours[0].line("Hi"))
    neighbours[0].wait_for_answers()
    people = [stack.customer(SLUGGISH) for _ in range(CROWD)]

    def reached() -> int:
        return sum(bool(one.turns if api == "model" else one.offered) for one in people)

    for person in people:
        if api == "model":
            stack.model.answer(hang, to=person.mark)
        else:
            stack.provider.answer(hang, to=person.number)
        person.writes(person.line("Hi"))
    eventually(lambda: reached() >= threads, what="every thread to hang")

    for neighbour in neighbours[1:]:
        neighbour.writes(neighbour.line("Hi"))
        neighbour.wait_for_answers()

    # All threads hung once; then half of them did, however many waited.
    assert reached() <= threads + 2 * threads // 2


@contextlib.contextmanager
def connected(stack: Stack, count: int, first: bytes, drip: bytes) -> Iterator[None]:
    """Keep so many connections that send ``first`` and then ``drip``, for ever.

    One that the server gave up comes again at once, as an attacker would.
    """
    over = threading.Event()

    def connect() -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", stack.port), timeout=20)
        connection.sendall(first)
        return connection

    connections = [connect() for _ in range(count)]

    def keep() -> None:
        while not over.wait(DRIP_S):
            for n, connection in enumerate(connections):
                try:
                    connection.sendall(drip)
                except OSError:
                    connection.close()
                    with contextlib.suppress(OSError):
                        connections[n] = connect()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for connection in connections:
            connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "first", "drip"),
    [
        pytest.param(SLOW, HEAD, b"X-A: 1\r\n", id="heads that do not end"),
        pytest.param(SLOW, WITH_BODY, b" ", id="bodies that do not end"),
        pytest.param(IDLE, b"", b"", id="silence"),
        pytest.param(ASKING, HEAD + b"\r\n", HEAD + b"\r\n", id="many small requests"),
    ],
)
def test_ordinary_webhooks_are_answered_beside_slow_clients(
    stack: Stack, count: int, first: bytes, drip: bytes
) -> None:
    with connected(stack, count, first, drip):
        people = [stack.customer() for _ in range(ORDINARY)]
        for person in people:
            person.writes(person.line("Hi"))
        answers = [person.wait_for_answers() for person in people]

    assert [len(replies) for replies in answers] == [1] * ORDINARY
