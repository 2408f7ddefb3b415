"""Where hosts listen, and who reaches it: addresses that change under traffic, and every port."""

import json
from collections.abc import Sequence

from laboratory import network
from laboratory.shell import run
from laboratory.stage import Stage

_WEB_LISTENS = "systemctl show --property=Listen --value 'ai-admin-web*.socket' | grep ."
_OF_PROGRAMS = "ss -HltnpA tcp | grep gunicorn | awk '{print $4}' | sort -u"
_PORT = 8010
_MOVED = ("-e", f"topology_web_port={_PORT}")


def moved_web(stage: Stage) -> None:
    """Have the web listen elsewhere and go back, also from where a play broke off."""
    stage.plays_well("deploy.yml", release="r1")
    before = stage.current()
    with stage.traffic("the web at another port, and back") as chapter:
        stage.plays_well("site.yml", *_MOVED, release="r1")
        _expect_web(stage, _PORT)
        chapter.wait(3)
        stage.plays_well("site.yml", release="r1")
        _expect_web(stage, 8000)
    with stage.traffic("back from what is half done") as chapter:
        stage.plays_well("plays/servers.yml", *_MOVED)
        chapter.wait(2)
        stage.plays_well("site.yml", release="r1")
        _expect_web(stage, 8000)
        stage.plays_well("plays/servers.yml", *_MOVED)
        stage.plays_well("deploy.yml", *_MOVED, release="r2")
        chapter.wait(2)
        stage.plays_well("site.yml", release="r1")
        _expect_web(stage, 8000)
    stage.expect_only(before)
    refused = stage.play("deploy.yml", *_MOVED, release="r2")
    said = " / ".join(refused.reasons())
    told = "Refused, nothing was switched: the web of" in said and "Run site.yml" in said
    stage.expect(refused.status and told, f"a port that is not open: {refused.status} {said}")
    stage.expect_only(before)
    again = stage.plays_well("site.yml", release="r1")
    stage.expect(not any(again.changed.values()), f"a run after it changes: {again.changed}")


def _expect_web(stage: Stage, port: int) -> None:
    """Hold what listens for webhooks against one port: systemd's, and that of the processes."""
    for guest in stage.guests("web"):
        for asked in (_WEB_LISTENS, _OF_PROGRAMS):
            found = [line.split()[0] for line in guest.ssh(asked).splitlines()]
            ports: Sequence[str] = [address.rpartition(":")[2] for address in found]
            stage.expect(ports == [str(port)], f"{guest.host} listens at {found}, not {port} alone")


#: Port, the group whose hosts have it open to others, and the groups whose hosts may reach it.
_CLIENTS = ("web", "workers", "scheduler")
_PORTS = (
    (8000, "web", ("proxy", "monitoring")),
    (6379, "ledger", _CLIENTS),
    (6380, "ledger", _CLIENTS),
    (5671, "broker", _CLIENTS),
    (9121, "ledger", ("monitoring",)),
)
#: For everybody: ssh, and the proxy.
_EVERYBODY = (22, 443)
#: For the host itself alone, wherever it is: the candidate, RabbitMQ's own, Prometheus.
_NOBODY = (8001, 5672, 4369, 25672, 9090)
_OUTSIDE = "outside"
_PROGRAM = "/usr/local/bin/reach"
_REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def reach(place):
    try:
        socket.create_connection(tuple(place), 3).close()
    except OSError:
        return None
    return place

places = json.loads(sys.argv[1])
print(json.dumps([it for it in ThreadPoolExecutor(64).map(reach, places) if it]))
"""


def every_port(stage: Stage) -> None:
    """Try each port of each host from each other host and from outside: the table holds."""
    wrong = _differing(stage)
    stage.expect(not wrong, f"ports are not for whom they are: {wrong}")
    if stage.site.kind == "one":
        return
    # So that what is tried here is known to find something.
    open_to_all = {"app_web_allow": ["any"]}
    stage.plays_well("plays/servers.yml", "-e", json.dumps(open_to_all))
    stage.expect(_differing(stage), "a list that lets everybody in was not noticed")
    guest = stage.guests("web")[0]
    with stage.traffic("nftables instead of systemd's lists"):
        only = json.dumps({**open_to_all, "topology_firewall": True})
        stage.plays_well("plays/servers.yml", "-e", only)
        guest.ssh("nft add table inet somebody")
        wrong = _differing(stage)
        stage.expect(not wrong, f"nftables does not say for whom ports are: {wrong}")
        guest.ssh("systemctl reload ai-admin-firewall")
        tables = guest.ssh("nft list tables")
        stage.expect("inet somebody" in tables, f"the table of somebody else went: {tables}")
        stage.plays_well("plays/servers.yml")
    wrong = _differing(stage)
    stage.expect(not wrong, f"ports are not for whom they are: {wrong}")


def _differing(stage: Stage) -> list[str]:
    """Return what can be reached from where it should not, or cannot from where it should."""
    guests, topology = stage.site.hosts.guests, stage.site.topology
    numbers = [port for port, *_ in _PORTS] + [*_EVERYBODY, *_NOBODY]
    places = [(guest.address, port) for guest in guests.values() for port in numbers]
    found: set[tuple[str, str, int]] = set()
    for caller in (*guests, _OUTSIDE):
        tried = _tried(stage, caller, places)
        found |= {(caller, address, port) for address, port in tried}
    meant = {
        (caller, guests[host].address, port)
        for port, group, groups in _PORTS
        for host in topology.get(group, ())
        for caller in {host, *(it for group in groups for it in topology.get(group, ()))}
        if _is_open(stage, port)
    }
    ssh = {
        (caller, guest.address, 22) for caller in (*guests, _OUTSIDE) for guest in guests.values()
    }
    proxies = {
        (it, guests[host].address, 443) for it in (*guests, _OUTSIDE) for host in topology["proxy"]
    }
    return [
        f"{caller} to {address}:{port} {'open' if (caller, address, port) in found else 'closed'}"
        for caller, address, port in sorted(found ^ (meant | ssh | proxies))
    ]


def _is_open(stage: Stage, port: int) -> bool:
    """Return whether something listens there for others in this laboratory."""
    has_broker = "broker" in stage.site.topology
    never = {9121, 6380 if has_broker else 5671}
    return stage.site.kind != "one" and port not in never


def _tried(stage: Stage, caller: str, places: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return which of these can be reached from a host, or from outside."""
    asked = json.dumps(places)
    if caller == _OUTSIDE:
        said = run([*network.inside(stage.site.names), "python3", "-c", _REACH, asked])
    else:
        guest = stage.site.hosts.guests[caller]
        (guest.root / _PROGRAM.lstrip("/")).write_text(_REACH)
        said = guest.ssh(f"python3 {_PROGRAM} '{asked}'")
    return [(address, port) for address, port in json.loads(said)]
