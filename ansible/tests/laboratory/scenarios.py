"""Scenarios: what operators do, what goes wrong, and what customers notice of it: nothing."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from laboratory import weather
from laboratory.acme import by_acme
from laboratory.addresses import every_port, moved_web
from laboratory.back import ways_back
from laboratory.beside import not_bare
from laboratory.changes import broker, grow, moved, newer_redis, proxy, renamed, rests, shrink
from laboratory.dry import dry
from laboratory.lost import lost_ledger
from laboratory.places import LaboratoryError
from laboratory.renewal import certificates
from laboratory.session import Chapter
from laboratory.site import passing
from laboratory.stage import DEPLOYS, Stage


def bare_hosts(stage: Stage) -> None:
    """Set everything up, and do it once more."""
    first = stage.plays_well("site.yml", release="r1")
    if first.status:
        raise LaboratoryError("site.yml made no service: nothing else can be tried")
    again = stage.changes_nothing(release="r1")
    stage.expect(again.changed, "the second run says nothing of any host")
    stage.plays_well("verify.yml")
    stage.expect_only(stage.current())


#: Two limits that two deployments disagree about while both run.
_IDLE_MS = ("1500", "2500", "1000")


def many_deploys(stage: Stage) -> None:
    """Alternate releases and settings under traffic: nobody may notice."""
    _replace(stage, stage.deploys)


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
    """Take a web host out, deploy, boot it, and take it in; then a host that only works."""
    if stage.site.kind == "one":
        return
    for host, release in (("h3", "r2"), ("h4", "r1")):
        guest = stage.site.hosts.guests[host]
        with stage.traffic(f"drain of {host}") as chapter:
            stage.plays_well("drain.yml", "-e", f"drain_host={host}")
            rests(stage, chapter, guest)
            stage.plays_well("deploy.yml", release=release)
            guest.stop()
            guest.start()
            rests(stage, chapter, guest)
            checked = stage.plays_well("verify.yml")
            named = f"Drained: {host} since 20" in checked.output
            stage.expect(named, f"verify.yml does not say that {host} is drained")
            stage.plays_well("undrain.yml", "-e", f"drain_host={host}")
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


_BROKEN = ("forgets-customers", "repeats-customers")


def planted(stage: Stage) -> None:
    """Deploy each, see the judge object, and go back to a good release."""
    for release in _BROKEN:
        with stage.session.traffic() as chapter:
            # Canaries of two hosts may be a burst, too: then the deploy fails, and rightly.
            status = stage.play("deploy.yml", release=release).status
            chapter.wait(8)
        found = chapter.verdict.problems if chapter.verdict else []
        stage.tell(
            f"release {release}, deploy {status}, the judge: {len(found)} problems, {found[:2]}"
        )
        stage.expect(found, f"release {release}: the judge finds nothing")
    stage.plays_well("deploy.yml", release="r1")


@dataclass(frozen=True, slots=True)
class Bad:
    """A deploy that must fail. ``names``: words of which the message must hold one."""

    what: str
    names: tuple[str, ...]
    release: str = "r2"
    settings: dict[str, str] = field(default_factory=dict)


BAD = (
    Bad("a syntax error", ("does not compile", "SyntaxError"), release="syntax"),
    Bad("processes that die", ("did not pass its trial", "does not serve"), release="dies"),
    Bad("workers that hang", ("did not pass its trial",), release="hangs"),
    Bad("answers to bursts that are not sent", ("ended, and the sink",), release="forgets"),
    Bad("answers to bursts that are sent twice", ("was answered 2 times",), release="repeats"),
    Bad("a web that finds no ledger", ("ledger", "Redis", "REDIS_URL"), release="deaf"),
    Bad("nonsense for a number", ("BATCH_IDLE_MS",), settings={"BATCH_IDLE_MS": "nonsense"}),
    Bad("a number out of bounds", ("BATCH_LEASE_MS",), settings={"BATCH_LEASE_MS": "1"}),
    Bad("a setting that is none", ("BATCH_IDLE_SECONDS",), settings={"BATCH_IDLE_SECONDS": "9"}),
    Bad("a release that is none", ("r99",), release="r99"),
)
#: Where the second Redis of ``another_ledger`` listens.
_PORT = 6390
_OTHER_REDIS = f"""
apt-get -qq install --no-install-recommends redis-server >/dev/null 2>&1 &&
systemctl disable --quiet --now redis-server && mkdir -p /var/lib/other &&
systemd-run --quiet --unit=other-redis redis-server --port {_PORT} --appendonly yes \\
  --maxmemory-policy noeviction --dir /var/lib/other
"""


def refusals(stage: Stage) -> None:
    """Try every bad deploy under traffic."""
    for bad in BAD:
        _refused(stage, bad)


def one_refusal(stage: Stage) -> None:
    """Try one bad deploy under traffic."""
    _refused(stage, BAD[1])


def unknown_password(stage: Stage) -> None:
    """Change a role's password and deploy, without site.yml in between."""
    vault = stage.site.inventory.vault
    secrets = vault.open()
    vault.lock({**secrets, "ledger_web_password": secrets["ledger_web_password"][::-1]})
    _refused(stage, Bad("a password that the ledger does not know", ("the password of web",)))
    vault.lock(secrets)


def another_ledger(stage: Stage) -> None:
    """Let one web host of several write into another Redis, as once cost customers answers."""
    if stage.site.kind == "one":
        return
    guest = stage.guests("web")[-1]
    guest.ssh(_OTHER_REDIS)
    elsewhere = {"deployment_redis_url": f"redis://127.0.0.1:{_PORT}/0"}
    stage.site.inventory.set_host(guest.host, elsewhere)
    _refused(stage, Bad("another ledger on one web host", ("another ledger",)))
    stage.site.inventory.set_host(guest.host, {})
    guest.ssh("systemctl stop other-redis")


def _refused(stage: Stage, bad: Bad) -> None:
    before = stage.current()
    stage.site.inventory.set_settings(**bad.settings)
    with stage.traffic(f"refusal of {bad.what}") as chapter:
        chapter.wait(2)
        played = stage.play("deploy.yml", release=bad.release)
        chapter.wait(2)
    said = " / ".join(played.reasons())
    stage.tell(f"{bad.what}: {played.status} after {played.lasted_ms / 1000:.1f} s: {said[:600]}")
    stage.expect(played.status != 0, f"{bad.what} was deployed")
    named = any(word in said for word in bad.names)
    stage.expect(named, f"{bad.what}: the message names none of {bad.names}")
    # In doubt would be as much as a person was told; but no message was its to take.
    listed = stage.guests("workers")[0].ssh("ai-admin dead list --json || true")
    stage.expect('"letters": []' in listed, f"{bad.what}: dead letters are left: {listed}")
    stage.expect_only(before)
    stage.site.inventory.set_settings()


#: In the order in which they are played: each begins with a service in order, the first without.
SCENARIOS: Mapping[str, Callable[[Stage], None]] = {
    "beside": not_bare,
    "bare": bare_hosts,
    "deploys": many_deploys,
    "refusal": one_refusal,
    "back": ways_back,
    "grow": grow,
    "renamed": renamed,
    "moved": moved,
    "newer": newer_redis,
    "broker": broker,
    "proxy": proxy,
    "shrink": shrink,
    "weather": bad_weather,
    "rollback": rollback,
    "together": two_at_once,
    "drain": drain,
    "address": moved_web,
    "ports": every_port,
    "refusals": refusals,
    "passwords": unknown_password,
    "elsewhere": another_ledger,
    "certificates": certificates,
    "acme": by_acme,
    "dry": dry,
    "worker": worker_host_without_power,
    "scheduler": frozen_scheduler,
    "ledger": ledger_host_without_power,
    "planted": planted,
    # The last: what it may lose is lost to all judgements after it.
    "restore": lost_ledger,
}
#: What is played where little time is.
SHORT = ("bare", "refusal", "grow")
#: The whole of it.
LONG = tuple(name for name in SCENARIOS if name != "refusal")


def prove(
    prefix: str,
    kind: tuple[str, str],
    scenarios: Sequence[str],
    directory: Path,
    *,
    seed: int,
    deploys: int = DEPLOYS,
) -> list[str]:
    """Make hosts of a kind and a system, play scenarios, take the hosts away, return the problems.

    What playbooks printed and customers saw is left in ``directory``.
    """
    shutil.rmtree(directory, ignore_errors=True)
    with passing(prefix, *kind) as site:
        stage = Stage(site, directory, seed=seed, deploys=deploys)
        try:
            for scenario in scenarios:
                began_s = time.monotonic()
                stage.tell(f"-- {scenario} ({' on '.join(kind)})")
                SCENARIOS[scenario](stage)
                stage.tell(f"-- {scenario} took {time.monotonic() - began_s:.0f} s")
        finally:
            stage.close()
            for host, guest in site.hosts.guests.items():
                guest.keep_journal(directory / f"{host}.journal")
    return stage.problems
