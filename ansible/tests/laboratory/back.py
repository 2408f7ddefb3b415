"""A change that breaks off: at each step it can be undone, and customers notice nothing."""

import json
from functools import partial

from laboratory import network
from laboratory.changes import changes
from laboratory.hosts import ONE, TWO
from laboratory.stage import Stage

#: Where one host to two breaks off: before anything was handed over, and after.
_EARLY = ("PLAY [What a release needs around it", "PLAY [Try all of it on canaries alone")
_LATE = ("PLAY [Hand over the schedulers", "PLAY [Lead the proxies there")
#: Where the second host cannot be reached from one moment to the next.
_CUT = "PLAY [Hand over the web"
_SECOND = "h2"
_LOCK = "ai-admin-handover.service"


def ways_back(stage: Stage) -> None:
    """Break one host to two off at each step, and have one host again."""
    if stage.site.kind != "one" or stage.site.topology != ONE:
        return
    before = stage.current()
    with stage.traffic("one host to two, broken off and undone") as chapter:
        for at in _EARLY:
            stage.site.inventory.place(TWO)
            stage.breaks_off("site.yml", release=stage.release, at=at)
            chapter.wait(2)
            _forget(stage)
            changes(stage, ONE)
            stage.expect_only(before)
    for at in _LATE:
        with stage.traffic(f"the same at {at}") as chapter:
            stage.site.inventory.place(TWO)
            stage.breaks_off("site.yml", release=stage.release, at=at)
            chapter.wait(2)
            _undone(stage, before)
    with stage.traffic("the same by a line that is cut") as chapter:
        stage.site.inventory.place(TWO)
        cut = partial(network.line, stage.site.names, _SECOND, is_up=False)
        stage.breaks_off("site.yml", release=stage.release, at=_CUT, do=cut)
        network.line(stage.site.names, _SECOND, is_up=True)
        chapter.wait(2)
        _undone(stage, before)
    stage.plays_well("verify.yml")


def _unlock(stage: Stage) -> None:
    """Have the lock free that a play left when it broke off."""
    for guest in stage.site.hosts.guests.values():
        guest.ssh(f"systemctl stop {_LOCK} 2>/dev/null || true")


def _forget(stage: Stage) -> None:
    """Have the lock free, and no certificate any more where none was before."""
    _unlock(stage)
    stage.site.inventory.uncertify()


def _undone(stage: Stage, before: str) -> None:
    """Take the second host out, and have what ran before run on the first again."""
    _unlock(stage)
    played = stage.play("drain.yml", "-e", f"drain_host={_SECOND}")
    said = " / ".join(played.reasons())
    stage.tell(f"drain.yml: {played.status} after {played.lasted_ms / 1000:.1f} s: {said[:300]}")
    # Without TLS, as before, though the certificate is there: deployments ask for it yet.
    plainly = json.dumps({"topology_ledger_is_encrypted": False})
    changes(stage, ONE, "-e", plainly)
    stage.expect_only(before)
    _forget(stage)
