"""The deadline of a call reaches its connection, whatever became of it."""

import socket
from types import SimpleNamespace

import httpx2
import pytest

from httpjson import Deadline

CONNECTED = ("connection.connect_tcp.complete", "socks.connect_tcp.complete")


@pytest.mark.parametrize("event", CONNECTED)
def test_deadline_reaches_a_connection_that_tls_took_over(event: str) -> None:
    """TLS detaches the socket that was connected and goes on with one of its own."""
    ours, theirs = socket.socketpair()
    stream = SimpleNamespace(get_extra_info={"socket": ours}.get)
    with theirs, Deadline(60_000) as deadline:
        deadline.watch(event, {"return_value": stream})
        with socket.socket(fileno=ours.detach()):
            deadline._cut()

            assert theirs.recv(1) == b""


@pytest.mark.parametrize("event", CONNECTED)
def test_connection_that_comes_after_the_deadline_is_closed_unused(event: str) -> None:
    """It is certain that nothing left on it, as long as nothing does."""
    ours, theirs = socket.socketpair()
    stream = SimpleNamespace(get_extra_info={"socket": ours}.get, close=ours.close)
    with theirs, Deadline(60_000) as deadline:
        deadline._cut()

        with pytest.raises(httpx2.ConnectTimeout):
            deadline.watch(event, {"return_value": stream})

    assert ours.fileno() == -1


def test_call_that_ended_in_time_leaves_nothing_to_cut() -> None:
    ours, theirs = socket.socketpair()
    stream = SimpleNamespace(get_extra_info={"socket": ours}.get)
    with ours, theirs:
        with Deadline(60_000) as deadline:
            deadline.watch(CONNECTED[0], {"return_value": stream})

        deadline._cut()

        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"
