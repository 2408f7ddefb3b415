"""Which host does what: the inventories on which the playbooks are proved."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

Topology = Mapping[str, Sequence[str]]

#: Everything on one host.
ONE: Topology = MappingProxyType(
    dict.fromkeys(("ledger", "web", "workers", "scheduler", "proxy"), ("h1",))
)
#: Two hosts or more of each kind that may have them. h3 and h4 can be hurt while others serve:
#: h3 is a web host that is no proxy, h4 is none at all.
FOUR: Topology = MappingProxyType(
    {
        "ledger": ("h1",),
        "web": ("h2", "h3"),
        "workers": ("h3", "h4"),
        "scheduler": ("h3", "h4"),
        "proxy": ("h2",),
    }
)
#: The same, with RabbitMQ for the wake-ups.
RABBIT: Topology = MappingProxyType({**FOUR, "broker": ("h1",)})
TOPOLOGIES: Mapping[str, Topology] = MappingProxyType({"one": ONE, "four": FOUR, "rabbit": RABBIT})


def size(topology: Topology) -> int:
    """Return how many hosts a topology has."""
    return len({host for hosts in topology.values() for host in hosts})
