"""The ledger as an auditor sees it: by its socket on its own host, past everything under test."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from laboratory.errors import LaboratoryError
from laboratory.guest import Guest
from laboratory.site import Site
from tests.stack.ledger import LedgerView

#: Where the role has the ledger listen for root alone.
SOCKET = "/run/redis-ledger/redis.sock"
_PATIENCE_S = 20.0
_PAUSE_S = 0.05


@contextmanager
def opened(site: Site) -> Iterator[LedgerView]:
    """Open the view of a site's ledger for the body."""
    guest = site.hosts.guests[site.topology["ledger"][0]]
    secrets = site.inventory.vault.open()
    with _tunnel(guest, site.names.directory / "ledger.sock") as socket:
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
        end = time.monotonic() + _PATIENCE_S
        while not here.is_socket():
            if process.poll() is not None or time.monotonic() > end:
                raise LaboratoryError(f"the ledger on {guest.host} cannot be looked into")
            time.sleep(_PAUSE_S)
        yield here
    finally:
        process.terminate()
        process.wait()
        here.unlink(missing_ok=True)
