"""Where a laboratory keeps its things, and what its parts are called on the machine."""

import os
import re
from dataclasses import dataclass
from pathlib import Path


class LaboratoryError(Exception):
    """The laboratory cannot do what it was asked to; the text tells a person what to do."""


ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = ROOT / "ansible"
#: Reserved for measuring networks (RFC 2544): nobody's address anywhere.
NETWORK = "198.18.0"
CONTROLLER = f"{NETWORK}.1"
#: The same for IPv6: of a site's own (RFC 4193), and routed nowhere.
NETWORK_6 = "fd00:198:18:"


def cache() -> Path:
    """Return the directory for what is made once and used by every laboratory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ai-admin-laboratory"


@dataclass(frozen=True, slots=True)
class Names:
    """What the parts of the laboratory ``prefix`` are called."""

    prefix: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,7}", self.prefix):
            raise LaboratoryError(
                f"prefix {self.prefix!r}: must be 1..8 of a-z and 0-9, a letter first"
            )

    @property
    def directory(self) -> Path:
        """Return where the laboratory keeps all that ends with it."""
        return cache() / "running" / self.prefix

    @property
    def connections(self) -> Path:
        """Return where Ansible keeps connections open: no two laboratories may share them."""
        return self.directory / "connections"

    @property
    def controller(self) -> str:
        """Return the network namespace of the controller."""
        return f"{self.prefix}-ctl"

    def guest(self, host: str) -> str:
        """Return what a guest's network namespace, cgroups and machine are called."""
        return f"{self.prefix}-{host}"

    def guest_directory(self, host: str) -> Path:
        """Return where a guest keeps its disk."""
        return self.directory / "guests" / host


#: By what our hosts know the servers of somebody else, as in ``inventories/managed-redis``.
THEIR_NAMES = ("redis.example.net", "rabbit.example.net")
OUTSIDE = (CONTROLLER, 8080)
SENTRY = (CONTROLLER, 9000)
OUTSIDE_URL = f"http://{CONTROLLER}:{OUTSIDE[1]}"
SENTRY_URL = f"http://{CONTROLLER}:{SENTRY[1]}"
#: What goes into SENTRY_DSN.
DSN = f"http://public@{CONTROLLER}:{SENTRY[1]}/1"
