"""The ledger's disk or host is lost while customers write, and it is restored from a copy."""

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from laboratory.guest import Guest
from laboratory.session import Chapter, opened
from laboratory.shell import run
from laboratory.stage import Stage
from tests.chaos.judge import alert_in
from tests.chaos.record import Noted, Struck, accepted_ms, answered_ms
from tests.history.events import Accepted, Erased, Offered

#: Where the role keeps copies, and where they are sent.
_KEPT, _ELSEWHERE = "var/backups/ai-admin", "srv/copies"
_LOST = re.compile(r"lost: (\w+) was accepted and has no end")
_FORGOTTEN = re.compile(r"forgotten: (\w+), which call \d+ was not given")
_COUNTED = re.compile(r"counters: (\d+) accepted, (\d+) acknowledged")
#: Whatever runs may be stopped.
_STOPS = ("-e", '{"restore_stop": true}')
_MISSING = re.compile(r"and have no answer, by the logs of these hosts: (\d+)")


def lost_ledger(stage: Stage) -> None:
    """Lose the ledger's disk, then its whole host, each time while customers write; restore it."""
    guest, copies = stage.guests("ledger")[0], _Copies(stage)
    copies.set_up()
    stage.plays_well("site.yml", release="r1")
    stage.expect(copies.sent(), "site.yml made and sent no copy")
    stage.plays_well("verify.yml")
    _lost_disk(stage, guest, copies)
    _lost_host(stage, guest, copies)


class _Copies:
    """Copies of the ledger, sent over SSH to another directory of the same host."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._guest = stage, stage.guests("ledger")[0]
        self._way = stage.site.names.directory / "way"
        self._identity = stage.site.names.directory / "backup-key"
        vault = stage.site.inventory.vault
        vault.lock(vault.open() | {"ledger_backup_password": secrets.token_hex(32)})
        run(["age-keygen", "-o", self._identity])
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._way])

    def set_up(self) -> None:
        """Let copies in where they are sent, and ask for them in the inventory."""
        guest = self._guest
        with (guest.root / "root/.ssh/authorized_keys").open("a") as allowed:
            allowed.write(self._way.with_suffix(".pub").read_text())
        (guest.root / _ELSEWHERE).mkdir(parents=True, exist_ok=True)
        host_key = guest.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
        variables = {
            "backup_recipients": [run(["age-keygen", "-y", self._identity]).strip()],
            "backup_target": f"root@{guest.address}:/{_ELSEWHERE}/",
            "backup_ssh_key": self._way.read_text(),
            "backup_ssh_known_hosts": f"{guest.address} {' '.join(host_key)}",
        }
        self._stage.site.inventory.set_host(guest.host, variables)

    def make(self) -> None:
        """Have one made now."""
        self._guest.ssh("systemctl start ai-admin-backup.service")

    def sent(self) -> list[Path]:
        """Return the copies that were sent."""
        return list((self._guest.root / _ELSEWHERE).glob("ledger-*.rdb.age"))

    def fetch(self) -> list[str]:
        """Fetch all that was sent; return what restore.yml is told of the newest."""
        fetched = self._stage.site.names.directory / "fetched"
        shutil.rmtree(fetched, ignore_errors=True)
        shutil.copytree(self._guest.root / _ELSEWHERE, fetched)
        newest = max(fetched.glob("ledger-*.rdb.age"))
        return ["-e", f"restore_copy={newest}", "-e", f"restore_identity={self._identity}"]


def _lost_disk(stage: Stage, guest: Guest, copies: _Copies) -> None:
    """Lose the disk of the ledger, restore it, and be told what is gone.

    Excused are messages that were accepted after the copy was begun and before the disk was lost:
    they may have no answer, and be in no ledger. Nothing else is, and their number is told.
    """
    record = stage.session.record
    with stage.session.traffic() as chapter:
        chapter.wait(6)
        began = len(record.events)
        copies.make()
        chapter.wait(6)
        erased = _erase_somebody(stage, guest)
        played = stage.play("restore.yml", *copies.fetch())
        said = " / ".join(played.reasons())
        stage.expect(
            played.status and "would write into the ledger meanwhile" in said,
            f"restore.yml on a service that runs: {played.status}, {said[:300]}",
        )
        with stage.session.hurting("the ledger's disk is lost"):
            guest.cut_power()
            gap = record.events[began:]
            given = copies.fetch()
            shutil.rmtree(guest.root / "var/lib/redis")
            shutil.rmtree(guest.root / _KEPT)
            guest.start()
            restored = stage.plays_well("restore.yml", *given, *_STOPS, release="r1")
            _wait_for_answer(stage, chapter)
    found = chapter.verdict.problems if chapter.verdict else ["there is no verdict"]
    missing = [word for problem in found for word in _LOST.findall(problem)]
    stage.tell(f"disk lost: {len(missing)} of {len(accepted_ms(gap))} in the gap have no answer")
    for problem in _inexcusable(found, gap, record.events):
        stage.expect(holds=False, otherwise=f"disk lost: {problem}")
    _expect_told(stage, restored.output, missing)
    with opened(stage.site) as ledger:
        history = ledger.store.shard_of(erased).history(erased)
        stage.expect(not ledger.client.exists(history), f"{erased} was erased and is back")
    stage.plays_well("verify.yml")


def _lost_host(stage: Stage, guest: Guest, copies: _Copies) -> None:
    """Lose the whole host of the ledger; nobody wrote since the copy, so nothing may be missing."""
    copies.make()
    given = copies.fetch()
    with stage.traffic("host lost", refusals_are_allowed=True) as chapter:
        with stage.session.hurting("the ledger's host is lost"):
            guest.cut_power()
            guest.lose_disk()
            guest.start()
            copies.set_up()
            stage.plays_well("restore.yml", *given, *_STOPS, release="r1")
            _wait_for_answer(stage, chapter)
        chapter.wait(5)
    stage.plays_well("verify.yml")
    stage.expect_only(stage.current())


def _wait_for_answer(stage: Stage, chapter: Chapter) -> None:
    """Wait until a customer is answered, and tell how long that was after the loss."""
    events = stage.session.record.events
    lost_ms = max(event.at_ms for event in events if isinstance(event, Struck))
    for _ in range(60):
        after_ms = [at_ms for at_ms in answered_ms(events).values() if at_ms > lost_ms]
        if after_ms:
            taken_s = (min(after_ms) - lost_ms) / 1000
            stage.tell(f"from the loss to the first answered customer: {taken_s:.1f} s")
            return
        chapter.wait(1)
    stage.expect(holds=False, otherwise="no customer was answered in a minute after restore.yml")


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
