"""Where we call: at addresses of the configuration, from one package, never as a message says."""

import ast
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.clients import http_client
from tests.repository import SERVICE, relative, tree
from tests.street import Street, street
from tests.webhooks import body, change, text_message

__all__ = ["street"]

#: Whatever can open a connection by itself.
CONNECTING = re.compile(
    r"(aiohttp|apprise|ftplib|http\.client|httpcore2?|httpx|opentelemetry\.exporter|requests|smtplib"
    r"|socket|ssl|telnetlib"
    r"|urllib\.request|urllib3|webbrowser|websockets?|xmlrpc)(\.|\Z)"
)
#: Those that may: the deadline of a call closes its socket, ``certificates`` looks until when they
#: are valid, ``fleet`` asks for the host's name,
#: ``check`` connects to RabbitMQ, ``clients`` knows the errors of sockets and TLS, ``outages`` has
#: its turn among the processes of this host, ``otlp`` sends spans, ``sinks`` tells people at
#: NOTIFY_URLS, ``systemd`` notifies systemd, ``urls`` has the system read an address as it would
#: when connecting. None of them is given an address by a message.
MAY_CONNECT = {
    "config/urls.py",
    "httpjson/__init__.py",
    "runtime/certificates.py",
    "runtime/clients.py",
    "runtime/fleet.py",
    "runtime/otlp.py",
    "runtime/outages.py",
    "runtime/sinks.py",
    "runtime/systemd.py",
    "cli/check.py",
}
#: What the HTTP library is used for outside of the one package that calls: types and their making.
HARMLESS = {"Client", "InvalidURL", "Limits", "Timeout"}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{name.name}" for name in names)


def deeds(tree: ast.AST) -> Iterator[str]:
    """Yield what is done with the HTTP library or with a client of it, beyond passing it on."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="httpx2"), attr=name) if name not in HARMLESS:
                yield f"httpx2.{name}"
            case ast.Attribute(
                value=ast.Name(id="http" | "_http" | "client")
                | ast.Attribute(attr="http" | "_http"),
                attr="send" | "request" | "stream" | "build_request" | "post" | "put" as name,
            ):
                yield f".{name}"


def test_no_other_module_opens_connections() -> None:
    found = {
        f"{relative(path)}: {name}"
        for path in SERVICE
        if relative(path) not in MAY_CONNECT
        for name in imported(tree(path))
        if CONNECTING.match(name)
    }

    assert found == set()


def test_only_one_package_calls_over_http() -> None:
    found = {relative(path) for path in SERVICE if list(deeds(tree(path)))}

    assert found == {"httpjson/__init__.py"}


def test_client_follows_no_redirect() -> None:
    with http_client() as client:
        assert client.follow_redirects is False


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """Return a socket that listens; no request may reach it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        yield listening


def messages(url: str) -> list[dict[str, Any]]:
    """Return a message of each kind that may carry an address, with this one in it."""
    media = {"id": "1", "url": url, "link": url, "mime_type": "image/png", "caption": url}
    kinds = ("image", "audio", "video", "document", "sticker")
    place = {"latitude": 1, "longitude": 2, "url": url, "name": url}
    referral = {"source_url": url, "image_url": url, "thumbnail_url": url}
    return [
        text_message("w1", f"look at {url}", referral=referral),
        *(text_message(f"w-{kind}", "", type=kind) | {kind: media} for kind in kinds),
        text_message("w-location", "", type="location", location=place),
    ]


def test_address_in_a_message_is_never_asked(street: Street, trap: socket.socket) -> None:
    """Media are not fetched: the writer of a message would choose what we ask for."""
    url = f"http://127.0.0.1:{trap.getsockname()[1]}/x.png"
    number = street.businesses["salon"].number
    given = messages(url)
    answer = street.caller.cloud(body(change(*given, number=number)))
    assert answer.json["accepted"] == len(given)
    street.businesses["salon"].written += [""] * len(given)

    street.settle()

    assert url in street.businesses["salon"].model.requests[0].body.decode()
    with pytest.raises(BlockingIOError):
        trap.accept()
