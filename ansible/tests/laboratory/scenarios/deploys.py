"""Deploys, reloads, a rollback and drained hosts, all of them in the middle of traffic."""

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

from laboratory import weather
from laboratory.stage import Stage

#: Two limits that two deployments disagree about while both run.
_IDLE_MS = ("1500", "2500", "1000")


def many_deploys(stage: Stage) -> None:
    """Alternate releases and settings under traffic: nobody may notice."""
    _replace(stage, stage.deploys)


def one_deploy(stage: Stage) -> None:
    """Replace the release once, and its settings once."""
    _replace(stage, 2)


def bad_weather(stage: Stage) -> None:
    """Deploy while one host's line is slow and loses frames."""
    if stage.site.kind == "one":
        return
    with stage.traffic("deploy in bad weather") as chapter:
        with weather.bad_weather(stage.site.names, "h3", delay_ms=40, jitter_ms=10, loss_percent=2):
            stage.plays_well("deploy.yml", release="r2")
            chapter.wait(2)
        chapter.wait(3)
    stage.expect_only(stage.current())


def rollback(stage: Stage) -> None:
    """Deploy and think better of it."""
    stage.plays_well("deploy.yml", release="r1")
    before = stage.current()
    with stage.traffic("rollback") as chapter:
        stage.plays_well("deploy.yml", release="r2")
        chapter.wait(3)
        stage.plays_well("rollback.yml")
        chapter.wait(3)
        stage.expect_only(before)


def drain(stage: Stage) -> None:
    """Take a web host out, and in again; the same with a host that only works."""
    if stage.site.kind == "one":
        return
    proxy = stage.guests("proxy")[0]
    for host in ("h3", "h4"):
        guest = stage.site.hosts.guests[host]
        with stage.traffic(f"drain of {host}") as chapter:
            stage.plays_well("drain.yml", "-e", f"drain_host={host}")
            left = guest.ssh("systemctl list-units --plain --no-legend 'ai-admin-*@*'").strip()
            stage.expect(not left, f"{host} is drained and runs {left}")
            proxy.ssh("truncate --size 0 /var/log/nginx/access.log")
            chapter.wait(5)
            asked = proxy.ssh("cat /var/log/nginx/access.log")
            stage.expect(asked and guest.address not in asked, f"{host} is drained and asked")
            stage.plays_well("site.yml", release="r1")
            chapter.wait(3)
        stage.expect_only(stage.current())


def two_at_once(stage: Stage) -> None:
    """Begin two deploys together: whoever is second is refused, and nothing is left half done."""
    with stage.traffic("two deploys at once") as chapter, ThreadPoolExecutor(2) as pool:
        began = [pool.submit(stage.play, "deploy.yml", release=name) for name in ("r1", "r2")]
        played = [future.result() for future in began]
        chapter.wait(2)
    refused = [play for play in played if play.status]
    said = [" / ".join(play.reasons()) for play in refused]
    stage.tell(f"two deploys at once: {len(refused)} refused: {said}")
    stage.expect(len(refused) == 1 and "Refused, nothing was switched" in said[0], f"{said}")
    stage.expect_only(stage.current())
    stage.plays_well("verify.yml")


def _replace(stage: Stage, times: int) -> None:
    """Deploy or reload so many times under traffic, and report how long each took."""
    lasted_ms = []
    turns = zip(range(times), cycle(("r2", "", "r1", "")), cycle(_IDLE_MS), strict=False)
    with stage.traffic(f"{times} deploys and reloads") as chapter:
        for _, release, idle_ms in islice(turns, times):
            chapter.wait(2)
            stage.site.inventory.set_settings(BATCH_IDLE_MS=idle_ms)
            if release:
                played = stage.plays_well("deploy.yml", release=release)
            else:
                played = stage.plays_well("reload.yml")
            lasted_ms.append(played.lasted_ms)
            stage.expect_only(stage.current())
        chapter.wait(2)
    stage.tell(f"ms for each: {lasted_ms}, at most {max(lasted_ms)}")
    stage.site.inventory.set_settings()
