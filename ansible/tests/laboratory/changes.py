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
