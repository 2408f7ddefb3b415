"""An installation whose servers are reached by TLS: what they show, and settings to call them."""

import contextlib
import runpy
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml

from runtime.settings import Settings, load_settings
from tests.repository import ROOT

_PROGRAM = runpy.run_path(str(ROOT / "ansible/roles/ledger/files/certificates.py"))["main"]
#: Whose servers have what kind of address.
HOSTS = {"ledger": "::1", "broker": "127.0.0.1", "proxy": "localhost"}


def make(directory: Path, days: float) -> Path:
    """Make certificates for HOSTS that end in so many days, and their authority, in a directory."""
    _PROGRAM.__globals__["CERTIFICATE_DAYS"] = days
    _PROGRAM(directory, *(f"{name}={host}" for name, host in HOSTS.items()))
    return directory


@contextmanager
def shown(directory: Path, name: str, host: str) -> Iterator[int]:
    """Yield the port where a certificate is shown to whoever asks."""
    variables: dict[str, str] = yaml.safe_load((directory / "certificates.yml").read_text())
    pem = directory / f"{name}.pem"
    pem.write_text(variables[f"{name}_tls_certificate"] + variables[f"{name}_tls_key"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with socket.create_server((host, 0), family=family) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    plain, _ = server.accept()
                    with (
                        contextlib.suppress(OSError),
                        context.wrap_socket(plain, server_side=True) as connection,
                    ):
                        connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@contextmanager
def installation(directory: Path) -> Iterator[Settings]:
    """Yield settings by which three servers with certificates are called."""
    authority = str(directory / "ca.pem")
    options = {"ssl_options": f"{{'ca_certs': '{authority}'}}"}
    with (
        pytest.MonkeyPatch.context() as patch,
        shown(directory, "ledger", HOSTS["ledger"]) as ledger,
        shown(directory, "broker", HOSTS["broker"]) as broker,
        shown(directory, "proxy", HOSTS["proxy"]) as proxy,
    ):
        patch.setenv("SSL_CERT_FILE", authority)
        trusted = urlencode({"ssl_ca_certs": authority})
        yield load_settings(
            {
                "REDIS_URL": f"rediss://u:p@[::1]:{ledger}/0?{trusted}",
                "BROKER_URL": f"amqps://u:p@127.0.0.1:{broker}/v?{urlencode(options)}",
                "CANARY_URL": f"https://localhost:{proxy}",
            }
        )
