"""A real gunicorn of the application for a test, as production starts it."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from demo.child import ROOT, web
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import free_port
from tests.waiting import answers, eventually


class WebServer:
    """gunicorn with our configuration on a free port; ``environ`` has the settings."""

    def __init__(self, environ: Mapping[str, str], directory: Path, guard: Guard) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = environ
        self.process = OwnedProcess(
            [sys.executable, "-m", *web(self.port)],
            log_path=directory / "web.log",
            guard=guard,
            environ=dict(environ)
            | {
                "PATH": "/usr/bin:/bin",
                "HOME": str(directory),
                "PROMETHEUS_MULTIPROC_DIR": str(directory / "figures"),
            },
            cwd=ROOT,
        )

    def start(self) -> None:
        """Start it and wait until it answers. Raise AssertionError with its log if it ends."""
        self.process.start()
        eventually(lambda: answers(self.url) or not self.process.running, what="gunicorn to answer")
        assert self.process.running, self.process.log()

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()

    def talk(self, raw: bytes, *, timeout_s: float = 10) -> bytes:
        """Send bytes as they are and return all that comes back until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(raw)
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
            return received
