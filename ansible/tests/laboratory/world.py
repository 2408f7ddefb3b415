"""The world outside, on the controller: Debian's packages, WhatsApp, a model, and Sentry."""

import functools
import random
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from laboratory import pool
from laboratory.businesses import BUSINESSES
from laboratory.places import CONTROLLER
from laboratory.ports import OUTSIDE, SENTRY
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
        self._server = ThreadingHTTPServer((CONTROLLER, pool.PORT), handler)
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
