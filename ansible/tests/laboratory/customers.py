"""Customers who write all the time, and Meta, which delivers what they write over TLS."""

import http.client
import random
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

from laboratory.secrecy import SERVER_NAME
from tests.chaos.load import Load
from tests.chaos.meta import Meta
from tests.chaos.record import Record

#: Enough that those who wait for a host that is gone hold nobody else up.
SENDERS = 32
#: How long Meta waits for an answer, in seconds.
ANSWER_S = 20.0


class Door(Meta):
    """Meta, before the proxy at ``address``, or before web hosts themselves.

    ``authority``: whose certificates it takes.
    """

    def __init__(self, record: Record, rng: random.Random, address: str, authority: Path) -> None:
        self._address = address
        self._context = ssl.create_default_context(cafile=str(authority))
        #: Addresses and ports of web hosts that are called without the proxy; empty for the proxy.
        self.direct: Sequence[tuple[str, int]] = ()
        super().__init__(record, rng, [], senders=SENDERS)

    def _connection(self) -> http.client.HTTPConnection:
        if self.direct:
            address, port = self._rng.choice(self.direct)
            return http.client.HTTPConnection(address, port, timeout=ANSWER_S)
        return _Named(self._address, self._context)


class _Named(http.client.HTTPSConnection):
    """Reaches ``address`` and asks there for the name that the certificate is for."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        super().__init__(SERVER_NAME, timeout=ANSWER_S, context=context)
        self._address = address
        self._trusts = context

    def connect(self) -> None:
        """Connect to the address; no name server is there to be asked."""
        plain = http.client.HTTPConnection(self._address, self.port or 443, timeout=ANSWER_S)
        plain.connect()
        self.sock = self._trusts.wrap_socket(plain.sock, server_hostname=SERVER_NAME)


class Traffic:
    """Bursts that want answers, and at a constant rate reactions that want none, until stopped.

    The reactions keep webhooks coming so closely that no moment of refusal goes unnoticed.
    """

    def __init__(self, load: Load, *, reactions_per_s: float) -> None:
        self._load = load
        self._pause_s = 1 / reactions_per_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._react, name="reactions", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._load.start()
        self._thread.start()

    def stop(self) -> None:
        """Write nothing more."""
        self._over.set()
        self._thread.join()
        self._load.stop()

    def _react(self) -> None:
        while not self._over.wait(self._pause_s):
            self._load.react()
