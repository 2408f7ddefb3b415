"""Tell systemd that a process is ready, alive or stopping (sd_notify(3)).

It is one datagram, so no library is used: sdnotify had its last release in 2017 and hides every
failure, systemd-python and cysystemd are compiled against a library of the host.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

#: systemd takes a datagram at once or hangs itself; a tick must not hang with it.
SEND_TIMEOUT_S = 1.0
#: Signs of life within WatchdogSec=, so that a late one does not end the process.
SIGNS = 4


class Systemd:
    """The systemd named in ``environ``. Does nothing when NOTIFY_SOCKET is unset.

    No method raises. The variables stay in the environment: Dramatiq's worker processes report
    readiness for their master, which cannot (NotifyAccess=all). WATCHDOG_PID leaves the watchdog
    to the main process. ``clock``: monotonic milliseconds.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = f"\0{self._address[1:]}"
        ours = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        watchdog_ms = int(environ.get("WATCHDOG_USEC", "0")) // 1_000
        self._sign_every_ms = watchdog_ms // SIGNS if ours else 0
        self._clock = clock
        self._sign_due_ms = 0

    def ready(self) -> None:
        """Report that this process serves; units that wait for it may start."""
        self._notify("READY=1")

    def alive(self) -> None:
        """Give the watchdog a sign of life if one is due. Call it often, from one thread."""
        now_ms = self._clock()
        if self._sign_every_ms and now_ms >= self._sign_due_ms:
            self._sign_due_ms = now_ms + self._sign_every_ms
            self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that this process begins to stop."""
        self._notify("STOPPING=1")

    def _notify(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(SEND_TIMEOUT_S)
                channel.sendto(state.encode(), self._address)
        except OSError as error:
            fields = {"state": state, "error": type(error).__name__}
            log.warning("supervisor.unreachable", extra=fields)
