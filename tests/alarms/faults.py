"""The faults whose events are counted: what is done to a site, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from signal import SIGKILL, SIGSTOP

from tests.alarms.site import Site


def _nothing(_site: Site) -> None:
    """Leave it as it is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What ``begin`` does to an installation, and how ``end`` takes it back after ``lasts_s``.

    ``customers_write``, ``is_scraped``: what goes on meanwhile. ``restarts``: what ends is started
    again, as systemd does. ``silent``: only silence tells of it.
    """

    name: str
    begin: Callable[[Site], None]
    end: Callable[[Site], None] = _nothing
    lasts_s: int = 60
    customers_write: bool = True
    is_scraped: bool = False
    restarts: bool = True
    silent: bool = False


def _bug(name: str) -> Fault:
    return Fault(f"bug in every {name}", lambda s: s.bug(name), lambda s: s.bug(""))


def _down(service: str, lasts_s: int) -> Fault:
    return Fault(
        f"{service} down",
        lambda s: s.set_down(service, is_down=True),
        lambda s: s.set_down(service, is_down=False),
        lasts_s,
    )


def _kill_ledger(site: Site) -> None:
    site.valkey.kill()


def _start_ledger(site: Site) -> None:
    site.valkey.start()


FAULTS = (
    Fault("nothing", _nothing),
    Fault("ledger away", _kill_ledger, _start_ledger),
    Fault("ledger away, nobody writes", _kill_ledger, _start_ledger, customers_write=False),
    Fault(
        "ledger away, scraped",
        _kill_ledger,
        _start_ledger,
        customers_write=False,
        is_scraped=True,
    ),
    Fault("ledger frozen", lambda s: s.valkey.pause(), lambda s: s.valkey.resume()),
    Fault("broker away", lambda s: s.broker.kill(), lambda s: s.broker.start()),
    Fault("broker frozen", lambda s: s.broker.pause(), lambda s: s.broker.resume()),
    _bug("flush"),
    _bug("generate"),
    _bug("webhook"),
    Fault("web child killed", lambda s: s.signal_child("web", SIGKILL)),
    Fault("web child hangs", lambda s: s.signal_child("web", SIGSTOP), silent=True),
    Fault("worker child killed", lambda s: s.signal_child("worker", SIGKILL)),
    Fault("scheduler killed", lambda s: s.processes["scheduler"].kill()),
    Fault("web killed", lambda s: s.processes["web"].signal(SIGKILL)),
    Fault("worker gone", lambda s: s.processes["worker"].kill(), restarts=False, silent=True),
    Fault("scheduler gone", lambda s: s.processes["scheduler"].kill(), restarts=False, silent=True),
    Fault("web gone", lambda s: s.processes["web"].kill(), restarts=False, silent=True),
    _down("model", 120),
    _down("provider", 60),
)
