"""The world outside, on the controller: Debian's packages, WhatsApp, a model, and Sentry."""

import functools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from laboratory import network, shell
from laboratory.debian import PORT
from laboratory.inventory import BUSINESSES
from laboratory.places import CONTROLLER, OUTSIDE, SENTRY, LaboratoryError, Names
from tests.chaos.outside import ChaosModel, ChaosProvider
from tests.chaos.record import Record
from tests.fake_sentry import FakeSentry
from tests.outside import Outside

#: How long a model takes: somebody is in the middle of an answer at every handover.
THINKS_S = (1.0, 3.0)


class World:
    """All of it, serving; whoever makes one must be inside the controller's network.

    ``tell`` is given each text that WhatsApp tells the fate of, as ``ChaosProvider`` has it.
    """

    def __init__(
        self,
        packages: Path,
        record: Record,
        rng: random.Random,
        tell: Callable[[str, str, str, str], None],
    ) -> None:
        self.sentry = FakeSentry(SENTRY)
        self.model = ChaosModel(record, rng, thinks_s=THINKS_S)
        accounts = {business.phone_number_id: business.account_id for business in BUSINESSES}
        self.provider = ChaosProvider(record, rng, accounts, tell)
        self._outside = Outside(self.model, self.provider, OUTSIDE)
        self._packages = _Packages(packages)

    def close(self) -> None:
        """End all of it."""
        self._packages.close()
        self._outside.close()
        self.sentry.close()


class _Packages:
    """Serves a directory, as Debian's mirrors do."""

    def __init__(self, directory: Path) -> None:
        handler = functools.partial(_Quiet, directory=str(directory))
        self._server = ThreadingHTTPServer((CONTROLLER, PORT), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


_PROBE = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=2)"


def serve(names: Names) -> None:
    """Have a process of its own serve the world outside until it is dismissed."""
    log = (names.directory / "world.log").open("ab")
    command = [sys.executable, "-m", "laboratory", "serve", f"--prefix={names.prefix}"]
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    _pid_file(names).write_text(str(server.pid))
    url = f"http://{CONTROLLER}:{PORT}/dists/"
    probe = [*network.inside(names), sys.executable, "-c", _PROBE, url]
    fault = f"the world outside does not serve: see {log.name}"
    shell.wait_until(lambda: shell.attempt(probe) or server.poll() is not None, fault)
    if server.poll() is not None:
        raise LaboratoryError(fault)


def dismiss(names: Names) -> None:
    """End that process and return when its ports are free. Safe to run twice."""
    if not _pid_file(names).exists():
        return
    pid = int(_pid_file(names).read_text())
    _pid_file(names).unlink()
    process = Path(f"/proc/{pid}")
    # After a crash the number may be somebody else's by now.
    if not process.exists() or b"laboratory" not in (process / "cmdline").read_bytes():
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)

    def is_over() -> bool:
        # A zombie's other threads may hold its ports yet.
        with suppress(FileNotFoundError):
            is_zombie = b"Z" in (process / "stat").read_bytes().split()[2:3]
            return is_zombie and len(list((process / "task").iterdir())) == 1
        return True

    shell.wait_until(is_over, f"process {pid} serves on")


def _pid_file(names: Names) -> Path:
    return names.directory / "world.pid"
