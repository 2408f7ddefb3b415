"""Hosts that come, go, move or are called otherwise, while customers write."""

from laboratory.guest import Guest
from laboratory.hosts import ONE, TWO, Topology
from laboratory.playbook import Played
from laboratory.session import Chapter
from laboratory.stage import Stage

_FIRST, _SECOND = "h1", "h2"


def grow(stage: Stage) -> None:
    """Add a second host: the ledger is reached by TLS from then on."""
    if stage.site.kind != "one":
        return
    with stage.traffic("one host to two") as chapter:
        chapter.wait(2)
        changes(stage, TWO)
        chapter.wait(2)
        stage.expect_only(stage.current())


def changes(stage: Stage, topology: Topology, *arguments: str) -> Played:
    """Have an inventory and play site.yml with the release that runs."""
    stage.site.inventory.place(topology)
    return stage.plays_well("site.yml", *arguments, release=stage.release)


def _deploys(stage: Stage) -> None:
    """Deploy the other of two good releases: nobody names what was before."""
    stage.plays_well("deploy.yml", release="r1" if stage.release == "r2" else "r2")


def _has_two(stage: Stage) -> bool:
    """Have two hosts, and no deployment that names the loopback; false where there are others."""
    if stage.site.kind != "one":
        return False
    if stage.site.topology == ONE:
        changes(stage, TWO)
    if stage.site.hosts.guests[_FIRST].ssh(_DOORS).split():
        _deploys(stage)
    return True


def _refuses(stage: Stage, topology: Topology, said: str) -> None:
    """Expect that site.yml refuses an inventory in these words; then have the one of before."""
    before = stage.site.topology
    stage.site.inventory.place(topology)
    played = stage.play("site.yml", release=stage.release)
    reasons = " / ".join(played.reasons())
    stage.tell(f"refused after {played.lasted_ms / 1000:.1f} s: {reasons[:400]}")
    stage.expect(played.status and said in reasons, f"not refused by {said!r}: {reasons}")
    stage.site.inventory.place(before)


def shrink(stage: Stage) -> None:
    """Take the second host out, by the document; then have it come back."""
    if not _has_two(stage):
        return
    guest = stage.site.hosts.guests[_SECOND]
    with stage.traffic("two hosts to one") as chapter:
        chapter.wait(2)
        _refuses(stage, ONE, "still works with this ledger")
        stage.plays_well("drain.yml", "-e", f"drain_host={_SECOND}")
        changes(stage, ONE)
        chapter.wait(2)
        stage.expect_only(stage.current())
        rests(stage, chapter, guest)
    stage.plays_well("verify.yml")
    said = stage.guests("web")[0].ssh("ls /opt/ai-admin/drained").split()
    stage.expect(not said, f"{_FIRST} says that {said} are drained, which are none of ours")
    with stage.traffic("and to two again") as chapter:
        changes(stage, TWO)
        stage.plays_well("undrain.yml", "-e", f"drain_host={_SECOND}")
        chapter.wait(2)
    stage.expect_only(stage.current())


def rests(stage: Stage, chapter: Chapter, guest: Guest) -> None:
    """Expect that nothing runs on a drained host, and that no proxy asks it."""
    listed = "systemctl list-units --plain --no-legend --state=active 'ai-admin-*'"
    left = guest.ssh(listed).strip()
    stage.expect(not left, f"{guest.host} is drained and runs {left}")
    proxy = stage.guests("proxy")[0]
    proxy.ssh("truncate --size 0 /var/log/nginx/access.log")
    chapter.wait(5)
    asked = proxy.ssh("cat /var/log/nginx/access.log")
    stage.expect(asked and guest.address not in asked, f"{guest.host} is drained and asked")


_PROCESSES = "systemctl show --property=Id,MainPID 'ai-admin-*@*.service'"


def renamed(stage: Stage) -> None:
    """Call a host otherwise in the inventory, and once more while it is drained."""
    if not _has_two(stage):
        return
    guest = stage.site.hosts.guests[_SECOND]
    with stage.traffic("another name of a host") as chapter:
        before = guest.ssh(_PROCESSES)
        stage.site.inventory.rename(_SECOND, "second")
        changes(stage, stage.site.topology)
        stage.expect(guest.ssh(_PROCESSES) == before, "another name started processes again")
        stage.plays_well("drain.yml", "-e", "drain_host=second")
        stage.site.inventory.rename(_SECOND, _SECOND)
        changes(stage, stage.site.topology)
        rests(stage, chapter, guest)
        stage.plays_well("undrain.yml", "-e", f"drain_host={_SECOND}")
        chapter.wait(2)
    stage.expect_only(stage.current())


_DOORS = "systemctl list-units --plain --no-legend 'ai-admin-door-*.socket' | awk '{print $1}'"
_MOVED = [f"ai-admin-door-moved-{name}.socket" for name in ("broker", "ledger")]
_SERVERS = "systemctl list-units --plain --no-legend --state=active 'redis-server@*' 'rabbitmq*'"


def moved(stage: Stage) -> None:
    """Have the ledger on another host, with its data; then have it back."""
    if not _has_two(stage):
        return
    for source, target in ((_FIRST, _SECOND), (_SECOND, _FIRST)):
        _moves(stage, source, target)


def _moves(stage: Stage, source: str, target: str) -> None:
    guest = stage.site.hosts.guests[source]
    before = {**stage.site.topology, "ledger": (source,)}
    before.pop("ledger_before", None)
    with stage.traffic(f"the ledger from {source} to {target}") as chapter:
        chapter.wait(2)
        changes(stage, {**before, "ledger": (target,), "ledger_before": (source,)})
        chapter.wait(2)
        stage.expect_only(stage.current())
        doors = guest.ssh(_DOORS).split()
        stage.expect(doors == _MOVED, f"{source} has the doors {doors}")
        _refuses(stage, before, "the ledger was moved from")
        _deploys(stage)
        chapter.wait(2)
    doors, servers = guest.ssh(_DOORS).split(), guest.ssh(_SERVERS).split()
    stage.expect(not doors, f"{source} has the doors {doors}, and nobody names them")
    stage.expect(not servers, f"{source} has the servers {servers}")
    after = changes(stage, {**before, "ledger": (target,)})
    stage.tell(f"without ledger_before: {after.changed}")
    stage.plays_well("verify.yml")


def newer_redis(stage: Stage) -> None:
    """Have the ledger on a host with a newer Redis; there is no way back to the older one."""
    if stage.site.kind != "newer":
        return
    with stage.traffic("a certificate for one host") as chapter:
        stage.site.inventory.certify_servers()
        changes(stage, ONE)
        chapter.wait(2)
        _deploys(stage)
    _moves(stage, _FIRST, _SECOND)
    with stage.traffic("back to the older Redis"):
        back = {**stage.site.topology, "ledger": (_FIRST,), "ledger_before": (_SECOND,)}
        _refuses(stage, back, "older")
    stage.expect_only(stage.current())
    stage.plays_well("verify.yml")


def broker(stage: Stage) -> None:
    """Have RabbitMQ carry the wake-ups; then have it go."""
    if not _has_two(stage):
        return
    without, second = stage.site.topology, stage.site.hosts.guests[_SECOND]
    with stage.traffic("RabbitMQ comes") as chapter:
        chapter.wait(2)
        changes(stage, {**without, "broker": (_SECOND,)})
        chapter.wait(2)
        _deploys(stage)
    servers = stage.guests("ledger")[0].ssh(_SERVERS)
    stage.expect("broker" not in servers, f"the second Redis serves nobody: {servers}")
    with stage.traffic("RabbitMQ goes") as chapter:
        changes(stage, without)
        stage.expect("rabbitmq" in second.ssh(_SERVERS), "RabbitMQ went while it is named")
        chapter.wait(2)
        _deploys(stage)
    servers = second.ssh(_SERVERS)
    stage.expect("rabbitmq" not in servers, f"RabbitMQ serves nobody: {servers}")
    stage.expect_only(stage.current())
    stage.plays_well("verify.yml")


def proxy(stage: Stage) -> None:
    """Have the proxy on another host in two runs, and back."""
    if not _has_two(stage):
        return
    for source, target in ((_FIRST, _SECOND), (_SECOND, _FIRST)):
        moves = {**stage.site.topology, "proxy": (target,)}
        both = {**stage.site.topology, "proxy": (source, target)}
        with stage.traffic(f"the proxy from {source} to {target}") as chapter:
            _refuses(stage, moves, "serves as a proxy, and is not in the group")
            changes(stage, both)
            chapter.wait(2)
            stage.leads_to(target)
            chapter.wait(2)
            changes(stage, moves, "-e", f"proxy_given_up={source}")
            chapter.wait(2)
        running = stage.site.hosts.guests[source].ssh("systemctl is-active nginx || true").strip()
        stage.expect(running == "inactive", f"nginx of {source} is {running}")
    stage.expect_only(stage.current())
    stage.plays_well("verify.yml")
