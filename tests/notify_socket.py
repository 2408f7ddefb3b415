"""The end of systemd's notifications where systemd listens."""

import socket
from pathlib import Path


class NotifySocket:
    """A datagram socket at ``address``, "@name" for an abstract one; ``received`` is what came."""

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1))
        self._socket.settimeout(0)
        self._received: list[str] = []

    @property
    def received(self) -> list[str]:
        """Return all notifications so far, in order."""
        while True:
            try:
                self._received.append(self._socket.recv(1_024).decode())
            except BlockingIOError:
                return list(self._received)

    def forget(self) -> None:
        """Forget the notifications so far."""
        assert self.received is not None
        self._received.clear()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
