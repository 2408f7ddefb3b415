"""A real mail server that takes what is sent to people, and keeps it."""

from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller

from tests.http_server import closed_port


class MailServer:
    """Listens on a free port of the loopback until it is closed; ``mails``: what it took."""

    def __init__(self) -> None:
        self.mails: list[Message] = []
        self.status = "250 OK"
        self._controller: Any = Controller(self, hostname="127.0.0.1", port=closed_port())
        self._controller.start()

    @property
    def url(self) -> str:
        """Return the address of NOTIFY_URLS that leads here."""
        port = self._controller.server.sockets[0].getsockname()[1]
        return f"mailto://127.0.0.1:{port}?from=alerts@example.com&to=owner@example.com"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a mail, as aiosmtpd asks."""
        if self.status.startswith("250"):
            self.mails.append(message_from_bytes(envelope.content, policy=default))
        return self.status

    def close(self) -> None:
        """Stop listening."""
        self._controller.stop()
