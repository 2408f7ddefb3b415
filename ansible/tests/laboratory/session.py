"""A service under constant traffic, whatever is done to it meanwhile, and verdicts on it."""

import http.client
import itertools
import random
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from laboratory import network
from laboratory.debian import ensure_pool
from laboratory.guest import Guest
from laboratory.inventory import BUSINESSES, RESENDS
from laboratory.places import LaboratoryError
from laboratory.secrecy import SERVER_NAME
from laboratory.shell import wait_until
from laboratory.site import Site
from laboratory.world import World, dismiss
from tests.chaos.judge import Judge
from tests.chaos.load import Load
from tests.chaos.meta import Meta
from tests.chaos.record import Healed, Record, Refused, Struck
from tests.chaos.report import Figures, count
from tests.stack.ledger import LedgerView

#: Enough that those who wait for a host that is gone hold nobody else up.
SENDERS = 32
ATTEMPTS_MAX = 8
REACTION_PAUSE_S = 1 / 20
#: More webhooks that wait to be delivered than these, and no refusal goes unnoticed any more.
BACKLOG_MAX = 200
#: Meta's pause before the next try grows to half a minute.
DOUBLINGS = 5
#: How long Meta waits for an answer, in seconds.
ANSWER_S = 20.0


class Door(Meta):
    """Meta, before the proxy at ``address``; ``authority``: whose certificates it takes."""

    def __init__(self, record: Record, rng: random.Random, address: str, authority: Path) -> None:
        self._address = address
        self._context = ssl.create_default_context(cafile=str(authority))
        # As by default from Python 3.13 on.
        self._context.verify_flags |= ssl.VERIFY_X509_STRICT
        super().__init__(record, rng, [], senders=SENDERS, doublings=DOUBLINGS)

    def trust(self, authority: str) -> None:
        """Take certificates of another authority, too; ``authority``: its own, as PEM."""
        self._context.load_verify_locations(cadata=authority)

    def leads_to(self, address: str) -> None:
        """Deliver to another proxy, as callers do once the public name leads there."""
        self._address = address

    def _connection(self) -> http.client.HTTPConnection:
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
    """Bursts that want answers, and 20 a second reactions that want none, until stopped.

    The reactions keep webhooks coming so closely that no moment of refusal goes unnoticed.
    """

    def __init__(self, load: Load, meta: Meta) -> None:
        self._load = load
        self._meta = meta
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
        while not self._over.wait(REACTION_PAUSE_S):
            if self._meta.pending < BACKLOG_MAX:
                self._load.react()


#: Where the role has the ledger listen for root alone.
SOCKET = "/run/redis-ledger/redis.sock"


@contextmanager
def opened(site: Site) -> Iterator[LedgerView]:
    """Open the view of a site's ledger for the body."""
    secrets = site.inventory.vault.open()
    with _tunnel(site.ledger, site.names.directory / "ledger.sock") as socket:
        client = redis.Redis(
            unix_socket_path=str(socket),
            username="admin",
            password=secrets["ledger_admin_password"],
            socket_timeout=10,
            protocol=2,
            driver_info=None,
        )
        privacy_key = secrets["deployment_secrets"]["PRIVACY_KEY"]
        with client:
            yield LedgerView(client, privacy_key=privacy_key, shards=1)


@contextmanager
def _tunnel(guest: Guest, here: Path) -> Iterator[Path]:
    """Bring the ledger's socket here for the body."""
    here.unlink(missing_ok=True)
    *command, host = guest.ssh_command()
    # Options of ssh stand before the host.
    forward = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{here}:{SOCKET}"]
    process = subprocess.Popen([*command, *forward, host])
    try:
        fault = f"the ledger on {guest.host} cannot be looked into"
        wait_until(lambda: here.is_socket() or process.poll() is not None, fault)
        if not here.is_socket():
            raise LaboratoryError(fault)
        yield here
    finally:
        process.terminate()
        process.wait()
        here.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a chapter.

    ``problems``: promises that were broken in it. ``refusals``: webhooks that were not answered
    200, by what was said instead. ``figures``: of the whole session so far.
    """

    problems: list[str]
    refusals: Counter[str]
    figures: Figures


@dataclass
class Chapter:
    """One stretch of traffic; ``verdict`` is there when it is over."""

    verdict: Verdict | None = None

    @staticmethod
    def wait(seconds: float) -> None:
        """Let the customers write for a while."""
        time.sleep(seconds)


class Session:
    """Traffic on ``site`` in chapters, each with its verdict, from the moment its playbooks ran.

    Moves the whole process into the controller's network.
    """

    def __init__(self, site: Site, *, seed: int, bursts_per_s: float) -> None:
        rng = random.Random(seed)  # noqa: S311 - to repeat a run, no secret
        self.site = site
        self.record = Record()
        self._rng = rng
        self._bursts_per_s = bursts_per_s
        self._faults = itertools.count(1)
        # Another session may have been here before: its words are known to the ledger.
        self._words = itertools.count(time.time_ns() // 1_000_000_000 % 10_000_000 * 1_000)
        packages = ensure_pool(site.system)
        dismiss(site.names)
        network.enter(site.names.controller)
        self.meta = Door(
            self.record, rng, site.entrance.address, site.inventory.authority.certificate
        )
        self.world = World(packages, self.record, rng, self.meta.report)
        self._judge: Judge | None = None
        self._known_problems: set[str] = set()

    @contextmanager
    def traffic(self) -> Iterator[Chapter]:
        """Have customers write during the body; then let all come to rest, and judge."""
        if self._judge is None:
            # The ledger as the session found it.
            with opened(self.site) as ledger:
                events, sentry = self.record.events, self.world.sentry
                self._judge = Judge(
                    events, sentry, ledger, resend=RESENDS, max_attempts=ATTEMPTS_MAX
                )
        load = Load(
            self.meta,
            self._rng,
            bursts_per_s=self._bursts_per_s,
            businesses=BUSINESSES,
            words=self._words,
        )
        traffic, chapter, began = Traffic(load, self.meta), Chapter(), len(self.record.events)
        traffic.start()
        try:
            yield chapter
        finally:
            traffic.stop()
        with opened(self.site) as ledger:
            problems = self._judge.judge(ledger, lambda: self.meta.pending)
        new = [problem for problem in problems if problem not in self._known_problems]
        self._known_problems.update(new)
        refused = (e for e in self.record.events[began:] if isinstance(e, Refused))
        refusals = Counter(event.status or event.why for event in refused)
        chapter.verdict = Verdict(new, refusals, count(self._judge.history, self.record.events))

    @contextmanager
    def hurting(self, kind: str) -> Iterator[None]:
        """Note that the body does something by which workers may lose leases."""
        number = next(self._faults)
        self.record.note(partial(Struck, number=number, kind=kind, unsettles=""))
        yield
        self.record.note(partial(Healed, number=number))

    def close(self, directory: Path) -> None:
        """End the world outside and keep the history in ``directory``."""
        self.meta.close()
        self.world.close()
        self.record.save(directory / "history.jsonl")
