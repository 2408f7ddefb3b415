"""Tell systemd that a process serves, is alive, or begins to stop (sd_notify(3)).

Ours, as it is one datagram: sdnotify saw its last release in 2017 and hides every failure,
systemd-python and cysystemd are compiled against a library of the host.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

#: A datagram is taken at once, or systemd itself hangs; a tick must not hang with it.
SEND_TIMEOUT_S = 1.0
#: So many times within WatchdogSec= a sign of life is given: a late one or two must not kill.
SIGNS = 4


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Systemd:
    """The supervisor named in ``environ``; where there is none, nothing is told to nobody.

    No method raises. The variables stay in the environment: Dramatiq's worker processes tell for
    their master, which cannot (NotifyAccess=all); WATCHDOG_PID keeps the watchdog the main
    process's own.
    """

    def __init__(
        self, environ: Mapping[str, str], clock: Callable[[], int] = _monotonic_ms
    ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = f"\0{self._address[1:]}"
        ours = environ.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        self._sign_every_ms = (
            int(environ.get("WATCHDOG_USEC", "0")) // 1_000 // SIGNS if ours else 0
        )
        self._clock = clock
        self._sign_due_ms = 0

    def ready(self) -> None:
        """Tell that this process serves: what waits for it may go on."""
        self._tell("READY=1")

    def alive(self) -> None:
        """Tell that the work goes on, where a watchdog wants to know; not every time it is called.

        For one thread.
        """
        now_ms = self._clock()
        if self._sign_every_ms and now_ms >= self._sign_due_ms:
            self._sign_due_ms = now_ms + self._sign_every_ms
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell that this process begins to end."""
        self._tell("STOPPING=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(SEND_TIMEOUT_S)
                channel.sendto(state.encode(), self._address)
        except OSError as error:
            fields = {"state": state, "error": type(error).__name__}
            log.warning("supervisor.unreachable", extra=fields)
