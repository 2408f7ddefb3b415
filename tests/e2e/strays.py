"""A web process of an installation with something of its own in the environment."""

from http import HTTPStatus

import httpx2

from tests.e2e.harness import Stack, web_arguments
from tests.e2e.waiting import eventually
from tests.valkey_server import free_port


class Stray:
    """A second web process of the installation, with something of its own in the environment."""

    def __init__(self, stack: Stack, **environ: str) -> None:
        port = free_port()
        self.process = stack.process("stray", *web_arguments(port), **environ)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)

    def answers(self) -> bool:
        """Return whether it serves."""
        try:
            return self.client.get("/livez").status_code == HTTPStatus.OK
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.client.close()


def started(stack: Stack, strays: list[Stray], **environ: str) -> Stray:
    """Return a stray that serves; ``strays`` are stopped by the fixture that made the list."""
    stray = Stray(stack, **environ)
    strays.append(stray)
    stray.process.start()
    eventually(stray.answers, what="the stray to serve")
    return stray
