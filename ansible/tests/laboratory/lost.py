"""The ledger's disk or host is lost while customers write, and it is restored from a copy."""

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from laboratory.guest import Guest
from laboratory.hosts import size
from laboratory.session import Chapter, opened
from laboratory.shell import run
from laboratory.stage import Stage
from tests.chaos.judge import alert_in
from tests.chaos.record import Noted, Struck, accepted_ms, answered_ms
from tests.history.events import Accepted, Erased, Offered

#: Where the ledger's data are, where the role keeps copies, and where they are sent.
_DATA, _KEPT, _ELSEWHERE = "var/lib/redis", "var/backups/ai-admin", "srv/copies"
_LOST = re.compile(r"lost: (\w+) was accepted and has no end")
_FORGOTTEN = re.compile(r"forgotten: (\w+), which call \d+ was not given")
_COUNTED = re.compile(r"counters: (\d+) accepted, (\d+) acknowledged")
_MISSING = re.compile(r"and have no answer, by the logs of these hosts: (\d+)")
#: What is said where a log was lost too.
_BLIND = "does not reach back to"


def lost_ledger(stage: Stage) -> None:
    """Lose the ledger's disk, then its whole host, each time while customers write; restore it."""
    guest, copies = stage.guests("ledger")[0], _Copies(stage)
    copies.set_up()
    stage.plays_well("site.yml", release="r1")
    stage.expect(copies.sent(), "site.yml made and sent no copy")
    stage.plays_well("verify.yml")
    losses = [_Loss(stage, copies, "the ledger's disk", _lose_data)]
    losses += [_Loss(stage, copies, "the ledger's host", Guest.lose_disk, is_bare=True)]
    excused: set[str] = set()
    for loss in losses:
        excused |= loss.suffer(guest, excused)
    stage.expect_only(stage.current())


def _lose_data(guest: Guest) -> None:
    for place in (_DATA, _KEPT):
        shutil.rmtree(guest.root / place)


class _Copies:
    """Copies of the ledger, sent over SSH to a host that is none of the ledger's."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self._guest = stage, stage.guests("ledger")[0]
        self._elsewhere = list(stage.site.hosts.guests.values())[-1]
        self._way = stage.site.names.directory / "way"
        self._identity = stage.site.names.directory / "backup-key"
        vault = stage.site.inventory.vault
        vault.lock(vault.open() | {"ledger_backup_password": secrets.token_hex(32)})
        run(["age-keygen", "-o", self._identity])
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._way])

    def set_up(self) -> None:
        """Let copies in where they are sent, and ask for them in the inventory."""
        elsewhere = self._elsewhere
        elsewhere.ssh("apt-get -qq install --no-install-recommends rsync >/dev/null 2>&1")
        with (elsewhere.root / "root/.ssh/authorized_keys").open("a") as allowed:
            allowed.write(self._way.with_suffix(".pub").read_text())
        (elsewhere.root / _ELSEWHERE).mkdir(parents=True)
        host_key = elsewhere.ssh("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
        variables = {
            "backup_recipients": [run(["age-keygen", "-y", self._identity]).strip()],
            "backup_target": f"root@{elsewhere.address}:/{_ELSEWHERE}/",
            "backup_ssh_key": self._way.read_text(),
            "backup_ssh_known_hosts": f"{elsewhere.address} {' '.join(host_key)}",
        }
        self._stage.site.inventory.set_host(self._guest.host, variables)

    def make(self) -> None:
        """Have one made now."""
        self._guest.ssh("systemctl start ai-admin-backup.service")

    def sent(self) -> list[Path]:
        """Return the copies that were sent."""
        return list((self._elsewhere.root / _ELSEWHERE).glob("ledger-*.rdb.age"))

    def fetch(self) -> list[str]:
        """Fetch all that was sent; return what restore.yml is told of the newest."""
        fetched = self._stage.site.names.directory / "fetched"
        shutil.rmtree(fetched, ignore_errors=True)
        shutil.copytree(self._elsewhere.root / _ELSEWHERE, fetched)
        newest = max(fetched.glob("ledger-*.rdb.age"))
        return ["-e", f"restore_copy={newest}", "-e", f"restore_identity={self._identity}"]


@dataclass(frozen=True, slots=True)
class _Loss:
    """A loss of ``what``, by ``lose`` on a guest that is off, and a restore from a copy.

    ``is_bare``: whether nothing is left of the guest.
    """

    stage: Stage
    copies: _Copies
    what: str
    lose: Callable[[Guest], None]
    is_bare: bool = False

    def suffer(self, guest: Guest, excused: AbstractSet[str]) -> set[str]:
        """Play it while customers write; return the messages that a copy cannot have.

        Excused are messages that were accepted after the copy was begun and before the loss: they
        may have no answer, and be in no ledger. Nothing else is, and people are told of them.
        """
        record, stage = self.stage.session.record, self.stage
        told_before = len(stage.session.world.sentry.events)
        with stage.session.traffic() as chapter:
            chapter.wait(10)
            began = len(record.events)
            self.copies.make()
            chapter.wait(6)
            erased = _erase_somebody(stage, guest, record.events[:began])
            self._expect_refusal()
            with stage.session.hurting(f"{self.what} is lost"):
                guest.cut_power()
                gap = record.events[began:]
                given, kept = self.copies.fetch(), self.copies.sent()
                self.lose(guest)
                guest.start()
                if self.is_bare:
                    stage.site.introduce(guest)
                restored = stage.plays_well("restore.yml", *given, *self._stops(), release="r1")
                _wait_for_answer(stage, chapter)
            chapter.wait(3)
        came = _came(gap, record.events[:began])
        found = erased.without(chapter.verdict.problems if chapter.verdict else ["no verdict"])
        missing = [word for problem in found for word in _LOST.findall(problem)]
        stage.tell(f"{self.what} lost: {len(missing)} of {len(came)} in the gap have no answer")
        for problem in _inexcusable(found, came | excused, gap, record.events):
            stage.expect(holds=False, otherwise=f"{self.what} lost: {problem}")
        self._expect_told(restored.output, missing, stage.session.world.sentry.events[told_before:])
        self._expect_forgotten(erased)
        gone = {it.name for it in kept} - {it.name for it in self.copies.sent()}
        stage.expect(not gone, f"a new host took copies away: {sorted(gone)}")
        stage.plays_well("verify.yml")
        return came

    def _stops(self) -> Sequence[str]:
        """Return what lets processes be stopped, unless none can run."""
        nothing_runs = self.is_bare and size(self.stage.site.inventory.topology) == 1
        return () if nothing_runs else ("-e", '{"restore_stop": true}')

    def _expect_refusal(self) -> None:
        """Expect that a service that runs is not restored over."""
        played = self.stage.play("restore.yml", *self.copies.fetch())
        said = " / ".join(played.reasons())
        self.stage.expect(
            played.status and "would write into the ledger meanwhile" in said,
            f"restore.yml on a service that runs: {played.status}, {said[:300]}",
        )

    def _expect_told(
        self, output: str, missing: Sequence[str], events: Sequence[Mapping[str, Any]]
    ) -> None:
        """Expect that whoever restored, and whoever is alerted, knows how much is gone."""
        stage, told = self.stage, [int(count) for count in _MISSING.findall(output)]
        lacks_logs = self.is_bare and stage.guests("ledger")[0] in stage.guests("web")
        said = _BLIND in output
        stage.expect(said == lacks_logs, f"that logs are lost is {'' if said else 'not '}said")
        # What came in the last moment before the copy is in it, and may be counted all the same.
        is_enough = lacks_logs or (len(told) == 1 and told[0] >= len(missing))
        stage.expect(is_enough, f"{told} were told to be missing, not {missing}")
        alerts = [alert_in(event) for event in events]
        details = [it["detail"] for it in alerts if it.get("kind") == "ledger_restored"]
        ends = f"not answered: {'unknown' if lacks_logs else told[0] if told else '?'}"
        is_told = len(details) == 1 and details[0].endswith(ends)
        stage.expect(is_told, f"nobody was alerted so ({ends}): {details}")

    def _expect_forgotten(self, erased: "_ErasedPerson") -> None:
        """Expect that a copy brings nothing of an erased customer back."""
        history = erased.history(self.stage)
        is_back = [word for word in erased.words if any(word in line for line in history)]
        self.stage.expect(not is_back, f"{erased.conversation} was erased and is back: {is_back}")


@dataclass(frozen=True, slots=True)
class _ErasedPerson:
    """Who was erased, and the words that they wrote before."""

    conversation: str
    words: frozenset[str]

    def without(self, problems: Sequence[str]) -> list[str]:
        """Leave out that what waited in the copy became a dead letter and was erased as one."""
        own = f"alerted for nothing: {self.conversation}:"
        return [problem for problem in problems if not problem.startswith(own)]

    def history(self, stage: Stage) -> list[str]:
        """Return what the ledger has of the conversation."""
        with opened(stage.site) as ledger:
            key = ledger.store.shard_of(self.conversation).history(self.conversation)
            lines: Any = ledger.client.lrange(key, 0, -1)
        return [line.decode() for line in lines]


def _erase_somebody(stage: Stage, guest: Guest, before: Sequence[Noted]) -> _ErasedPerson:
    """Forget a customer of whom the copy knows, and have that noted elsewhere; return who it is."""
    record = stage.session.record
    gone = {(it.account, it.customer) for it in record.events if isinstance(it, Erased)}
    offered = [it for it in before if isinstance(it, Offered) and not it.silent]
    answered = answered_ms(before)
    account, customer = next(
        person
        for it in offered
        if it.word in answered and (person := (it.account, it.customer)) not in gone
    )
    words = frozenset(it.word for it in offered if (it.account, it.customer) == (account, customer))
    with opened(stage.site) as ledger:
        conversation = ledger.store.conversation_id(account, customer)
    erased = _ErasedPerson(conversation, words)
    stage.expect(erased.history(stage), f"the ledger knows nothing of {conversation}")
    stage.guests("web")[0].ssh(f"ai-admin erase {conversation} --yes")
    record.note(partial(Erased, account=account, customer=customer))
    guest.ssh("systemctl start ai-admin-erasures.service")
    return erased


def _came(gap: Sequence[Noted], before: Sequence[Noted]) -> set[str]:
    """Return the words that were accepted in the gap and not before."""
    return {event.word for event in gap if isinstance(event, Accepted)} - accepted_ms(before).keys()


def _wait_for_answer(stage: Stage, chapter: Chapter) -> None:
    """Wait until who wrote since the loss is answered, and tell how long that was after it."""
    events = stage.session.record.events
    lost_ms = max(event.at_ms for event in events if isinstance(event, Struck))
    for _ in range(60):
        written = {word for word, at_ms in accepted_ms(events).items() if at_ms > lost_ms}
        after_ms = [at_ms for word, at_ms in answered_ms(events).items() if word in written]
        if after_ms:
            taken_s = (min(after_ms) - lost_ms) / 1000
            stage.tell(f"from the loss to the first answered customer: {taken_s:.1f} s")
            return
        chapter.wait(1)
    stage.expect(holds=False, otherwise="no customer was answered in a minute after restore.yml")


def _inexcusable(
    problems: Sequence[str], came: AbstractSet[str], gap: Sequence[Noted], events: Sequence[Noted]
) -> Iterator[str]:
    """Yield what a copy that is older than the loss does not explain."""
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
