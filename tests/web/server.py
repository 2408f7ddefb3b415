"""A real gunicorn of the application for a test, as production starts it."""

import contextlib
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx2

from tests.processes import Guard, OwnedProcess
from tests.valkey_server import free_port

ROOT = Path(__file__).parents[2]
START_DEADLINE_S = 30.0


class WebServer:
    """gunicorn with our configuration on a free port; ``environ`` has the settings."""

    def __init__(self, environ: Mapping[str, str], directory: Path, guard: Guard) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = OwnedProcess(
            [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{self.port}", "wsgi:application"],
            log_path=directory / "web.log",
            guard=guard,
            environ=dict(environ) | {"PATH": "/usr/bin:/bin", "HOME": str(directory)},
            cwd=ROOT,
        )

    def start(self) -> None:
        """Start it and wait until it answers. Raise TimeoutError with its log if it does not."""
        self.process.start()
        end = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < end and self.process.running:
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{self.url}/livez", timeout=2).status_code == httpx2.codes.OK:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"gunicorn did not answer: {self.process.log()}")

    def talk(self, raw: bytes, *, timeout_s: float = 10) -> bytes:
        """Send bytes as they are and return all that comes back until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(raw)
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
            return received
