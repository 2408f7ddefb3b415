"""Hosts that lose their power or stand still: what docs/reliability.md promises of it."""

from laboratory.stage import Stage

#: Longer than any lease, and than the time after which silence is noticed.
FROZEN_S = 60.0
_AWAY_S = 15.0


def worker_host_without_power(stage: Stage) -> None:
    """Take a worker host's power while it works: another finishes what it began."""
    if stage.site.kind == "one":
        return
    guest = stage.site.hosts.guests["h4"]
    with stage.traffic("power cut of a worker host") as chapter:
        chapter.wait(8)
        with stage.session.hurting("power cut"):
            guest.cut_power()
            chapter.wait(_AWAY_S)
            guest.start()
            chapter.wait(5)
    stage.plays_well("verify.yml")


def frozen_scheduler(stage: Stage) -> None:
    """Freeze a scheduler's host, with the workers on it; the other scheduler goes on."""
    if stage.site.kind == "one":
        return
    guest = stage.site.hosts.guests["h4"]
    with stage.traffic("frozen scheduler host") as chapter:
        chapter.wait(5)
        with stage.session.hurting("freeze"):
            guest.freeze()
            chapter.wait(FROZEN_S)
            guest.thaw()
            chapter.wait(5)
    stage.plays_well("verify.yml")


def ledger_host_without_power(stage: Stage) -> None:
    """Take the ledger's power: webhooks are refused meanwhile; what was taken is still there."""
    guest = stage.guests("ledger")[0]
    with stage.traffic("power cut of the ledger host", refusals_are_allowed=True) as chapter:
        chapter.wait(8)
        with stage.session.hurting("power cut"):
            guest.cut_power()
            chapter.wait(5)
            guest.start()
            chapter.wait(20)
    stage.plays_well("verify.yml")
