"""What changes nothing, and what is done in parts: ``--check``, tags and ``--limit``."""

from collections.abc import Sequence

from laboratory.guest import Guest
from laboratory.stage import Stage

#: All that a play could change: packages, units, files, and which processes run.
_ALL = """
dpkg-query -W; systemctl list-unit-files --no-legend; getent passwd group
find /etc /opt /usr/local /var/lib/ai-admin* -type f -printf '%p %s %T@ %m %u\\n' | sort
systemctl show --property=MainPID,ActiveState 'ai-admin-*' 'redis-server@*' nginx
"""
#: A secret of the vault has so many characters at least.
_LEAST = 16


def dry(stage: Stage) -> None:
    """Say what would change, change nothing, and tell no secret; then play by parts."""
    before, release = stage.release, "r1" if stage.release == "r2" else "r2"
    # For rollback.yml there must be a deployment before.
    stage.plays_well("deploy.yml", release=release)
    everywhere = list(stage.site.hosts.guests.values())
    guests = [it for it in everywhere if it.host in str(stage.site.topology)]
    stage.site.inventory.set_settings(BATCH_IDLE_MS="2500")
    found = _looked(guests)
    with stage.traffic("playbooks that change nothing"):
        _would(stage, "site.yml", (), release)
        _would(stage, "reload.yml", ("BATCH_IDLE_MS",), release)
        _would(stage, "deploy.yml", (before, "BATCH_IDLE_MS"), before)
        _would(stage, "rollback.yml", (), release)
        _would(stage, "verify.yml", (), release)
    stage.expect(_looked(guests) == found, "--check changed something")
    stage.site.inventory.set_settings()
    with stage.traffic("playbooks by tags") as chapter:
        for tag in ("servers", "verify", "release", "settings"):
            stage.plays_well("site.yml", "--tags", tag, release=release)
        stage.plays_well("site.yml", "--skip-tags", "servers", release=release)
        stage.plays_well("deploy.yml", "--tags", "verify", release=release)
        stage.plays_well("reload.yml", "--tags", "verify")
        chapter.wait(1)
    _refused(stage, "deploy.yml", "--tags", "units")
    if len(guests) > 1:
        last = guests[-1].host
        _refused(stage, "deploy.yml", "--limit", last)
        stage.plays_well("verify.yml", "--limit", last)
        stage.plays_well("site.yml", "--tags", "servers", "--limit", last, release=release)
    stage.expect_only(stage.current())


def _looked(guests: Sequence[Guest]) -> list[str]:
    return [guest.ssh(_ALL) for guest in guests]


def _would(stage: Stage, playbook: str, words: Sequence[str], release: str) -> None:
    """Play with --check; its report must have ``words``, and no secret."""
    played = stage.plays_well(playbook, "--check", "--diff", release=release)
    for word in words:
        stage.expect(word in played.output, f"{playbook} --check does not say {word}")
    told = [secret for secret in _secrets(stage) if secret in played.output]
    stage.expect(not told, f"{playbook} --check tells {len(told)} secrets")


def _secrets(stage: Stage) -> set[str]:
    """Return every secret of the vault, and the lines of keys."""
    kept = stage.site.inventory.vault.open()
    values = {**kept, **kept.pop("deployment_secrets")}.values()
    lines = {line for value in values if isinstance(value, str) for line in value.splitlines()}
    return {line for line in lines if len(line) >= _LEAST and "CERTIFICATE" not in line}


def _refused(stage: Stage, playbook: str, *arguments: str) -> None:
    before = _looked(stage.guests("web"))
    played = stage.play(playbook, *arguments)
    said = " / ".join(played.reasons())
    what = f"{playbook} {' '.join(arguments)}"
    stage.tell(f"{what}: {played.status}: {said}")
    stage.expect(played.status and "Refused" in said, f"{what} was not refused")
    stage.expect(_looked(stage.guests("web")) == before, f"{what} changed something")
