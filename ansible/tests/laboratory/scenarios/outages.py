"""Hosts that lose their power or stand still: what docs/reliability.md promises of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from laboratory.session import Chapter
from laboratory.stage import Stage

#: Longer than any lease, and than the time after which silence is noticed.
FROZEN_S = 60.0
_AWAY_S = 15.0


def worker_host_without_power(stage: Stage) -> None:
    """Take a worker host's power while it works: another finishes what it began."""
    if stage.site.kind != "one":
        guest = stage.site.hosts.guests["h4"]
        traffic = stage.traffic("power cut of a worker host")
        _outage(stage, traffic, "power cut", guest.cut_power, guest.start, (8, _AWAY_S, 5))


def frozen_scheduler(stage: Stage) -> None:
    """Freeze a scheduler's host, with the workers on it; the other scheduler goes on."""
    if stage.site.kind != "one":
        guest = stage.site.hosts.guests["h4"]
        traffic = stage.traffic("frozen scheduler host")
        _outage(stage, traffic, "freeze", guest.freeze, guest.thaw, (5, FROZEN_S, 5))


def ledger_host_without_power(stage: Stage) -> None:
    """Take the ledger's power: webhooks are refused meanwhile; what was taken is still there."""
    guest = stage.guests("ledger")[0]
    traffic = stage.traffic("power cut of the ledger host", refusals_are_allowed=True)
    _outage(stage, traffic, "power cut", guest.cut_power, guest.start, (8, 5, 20))


def _outage(
    stage: Stage,
    traffic: AbstractContextManager[Chapter],
    kind: str,
    hurt: Callable[[], None],
    heal: Callable[[], None],
    waits_s: tuple[float, float, float],
) -> None:
    """Hurt a host under traffic and heal it; ``waits_s``: before, between the two, and after."""
    before_s, hurt_s, after_s = waits_s
    with traffic as chapter:
        chapter.wait(before_s)
        with stage.session.hurting(kind):
            hurt()
            chapter.wait(hurt_s)
            heal()
            chapter.wait(after_s)
    stage.plays_well("verify.yml")
