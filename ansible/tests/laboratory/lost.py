"""The ledger's disk is lost while customers write, and is restored from a copy."""

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from laboratory.guest import Guest
from laboratory.session import opened
from laboratory.shell import run
from laboratory.stage import Stage
from tests.chaos.judge import alert_in
from tests.chaos.record import Noted, accepted_ms, answered_ms
from tests.history.events import Accepted, Erased, Offered

#: Where the role keeps copies, and where they are sent.
_KEPT, _ELSEWHERE = "var/backups/ai-admin", "srv/copies"
_LOST = re.compile(r"lost: (\w+) was accepted and has no end")
_FORGOTTEN = re.compile(r"forgotten: (\w+), which call \d+ was not given")
_COUNTED = re.compile(r"counters: (\d+) accepted, (\d+) acknowledged")
_MISSING = re.compile(r"and have no answer, by the logs of these hosts: (\d+)")


def lost_disk(stage: Stage) -> None:
    """Have copies made and sent, lose the disk of the ledger, restore it, and be told what is gone.

    Excused are messages that were accepted after the copy was begun and before the disk was lost:
    they may have no answer, and be in no ledger. Nothing else is, and their number is told.
    """
    guest, identity = stage.guests("ledger")[0], stage.site.names.directory / "backup-key"
    _have_copies(stage, guest, identity)
    record = stage.session.record
    with stage.session.traffic() as chapter:
        chapter.wait(6)
        began = len(record.events)
        guest.ssh("systemctl start ai-admin-backup.service")
        chapter.wait(6)
        erased = _erase_somebody(stage, guest)
        played = stage.play("restore.yml", *_given(stage, identity, guest))
        said = " / ".join(played.reasons())
        stage.expect(
            played.status and "would write into the ledger meanwhile" in said,
            f"restore.yml on a service that runs: {played.status}, {said[:300]}",
        )
        with stage.session.hurting("the ledger's disk is lost"):
            guest.cut_power()
            gap = record.events[began:]
            shutil.rmtree(guest.root / "var/lib/redis")
            shutil.rmtree(guest.root / _KEPT)
            guest.start()
            given = [*_given(stage, identity, guest), "-e", "restore_stop=true"]
            restored = stage.plays_well("restore.yml", *given, release="r1")
            chapter.wait(5)
    found = chapter.verdict.problems if chapter.verdict else ["there is no verdict"]
    missing = [word for problem in found for word in _LOST.findall(problem)]
    left = list(_inexcusable(found, gap, record.events))
    stage.tell(f"disk lost: {len(missing)} of {len(accepted_ms(gap))} in the gap have no answer")
    for problem in left:
        stage.expect(holds=False, otherwise=f"disk lost: {problem}")
    _expect_told(stage, restored.output, missing)
    with opened(stage.site) as ledger:
        history = ledger.store.shard_of(erased).history(erased)
        stage.expect(not ledger.client.exists(history), f"{erased} was erased and is back")
    stage.plays_well("verify.yml")


def _have_copies(stage: Stage, guest: Guest, identity: Path) -> None:
    """Set copies up; they are sent over SSH, to another directory of the same host."""
    stage.site.inventory.vault.lock(
        stage.site.inventory.vault.open() | {"ledger_backup_password": secrets.token_hex(32)}
    )
    run(["age-keygen", "-o", identity])
    way, home = stage.site.names.directory / "way", guest.root / "root/.ssh"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", way])
    with (home / "authorized_keys").open("a") as allowed:
        allowed.write(way.with_suffix(".pub").read_text())
    host_key = guest.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
    variables = {
        "backup_recipients": [run(["age-keygen", "-y", identity]).strip()],
        "backup_target": f"root@{guest.address}:/{_ELSEWHERE}/",
        "backup_ssh_key": way.read_text(),
        "backup_ssh_known_hosts": f"{guest.address} {' '.join(host_key)}",
    }
    stage.site.inventory.set_host(guest.host, variables)
    (guest.root / _ELSEWHERE).mkdir(parents=True, exist_ok=True)
    stage.plays_well("site.yml", release="r1")
    stage.expect(list((guest.root / _ELSEWHERE).glob("*.age")), "site.yml made and sent no copy")
    stage.plays_well("verify.yml")


def _given(stage: Stage, identity: Path, guest: Guest) -> list[str]:
    """Return what restore.yml is told, with the newest copy fetched from where it was sent."""
    fetched = stage.site.names.directory / "fetched"
    shutil.rmtree(fetched, ignore_errors=True)
    shutil.copytree(guest.root / _ELSEWHERE, fetched)
    newest = max(fetched.glob("ledger-*.rdb.age"))
    return ["-e", f"restore_copy={newest}", "-e", f"restore_identity={identity}"]


def _erase_somebody(stage: Stage, guest: Guest) -> str:
    """Forget a customer of whom the copy knows; return the conversation."""
    record = stage.session.record
    offered = next(it for it in record.events if isinstance(it, Offered) and not it.silent)
    with opened(stage.site) as ledger:
        conversation = ledger.store.conversation_id(offered.account, offered.customer)
    stage.guests("web")[0].ssh(f"ai-admin erase {conversation} --yes")
    record.note(partial(Erased, account=offered.account, customer=offered.customer))
    guest.ssh("systemctl start ai-admin-erasures.service")
    return conversation


def _inexcusable(
    problems: Sequence[str], gap: Sequence[Noted], events: Sequence[Noted]
) -> Iterator[str]:
    """Yield what a copy that is older than the loss does not explain."""
    came = {event.word for event in gap if isinstance(event, Accepted)}
    came -= accepted_ms(events[: events.index(gap[0])]).keys() if gap else set()
    answered = answered_ms([*(it for it in events if isinstance(it, Offered)), *gap]).keys()
    for problem in problems:
        lost, forgotten = _LOST.fullmatch(problem), _FORGOTTEN.fullmatch(problem)
        counted = _COUNTED.fullmatch(problem)
        is_excused = (
            (lost and lost[1] in came)
            or (forgotten and forgotten[1] in answered)
            or (counted and 0 <= int(counted[2]) - int(counted[1]) <= len(came))
        )
        if not is_excused:
            yield problem


def _expect_told(stage: Stage, output: str, missing: Sequence[str]) -> None:
    """Expect that whoever restored, and whoever is alerted, knows how much is gone."""
    told = [int(count) for count in _MISSING.findall(output)]
    # What came in the last moment before the copy is in it, and may be counted all the same.
    stage.expect(
        len(told) == 1 and told[0] >= len(missing), f"{told} were told to be missing, not {missing}"
    )
    alerts = [alert_in(event) for event in stage.session.world.sentry.events]
    details = [it["detail"] for it in alerts if it.get("kind") == "ledger_restored"]
    ends = f"not answered: {told[0] if told else '?'}"
    stage.expect(
        len(details) == 1 and details[0].endswith(ends), f"nobody was alerted so: {details}"
    )
