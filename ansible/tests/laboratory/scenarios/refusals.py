"""Bad releases and settings: refused or taken back, the cause named, and no one notices."""

from dataclasses import dataclass, field

from laboratory.stage import Stage


@dataclass(frozen=True, slots=True)
class Bad:
    """A deploy that must fail. ``names``: words of which the message must hold one."""

    what: str
    names: tuple[str, ...]
    release: str = "r2"
    settings: dict[str, str] = field(default_factory=dict)


BAD = (
    Bad("a syntax error", ("does not compile", "SyntaxError"), release="syntax"),
    Bad("processes that die", ("did not come to work", "does not serve"), release="dies"),
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
    stage.expect_only(before)
    stage.site.inventory.set_settings()
