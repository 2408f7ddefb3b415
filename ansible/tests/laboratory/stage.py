"""What scenarios share: hosts, playbooks, customers, and a list of what was not as it should be."""

import itertools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from laboratory.guest import Guest
from laboratory.playbook import Played
from laboratory.releases import make_releases
from laboratory.secrecy import SERVER_NAME
from laboratory.session import Chapter, Session
from laboratory.site import Site

#: How often a release or its settings are replaced where that is tried often.
DEPLOYS = 20
#: Every process of the application, by the instance that it belongs to.
_INSTANCES = (
    "cat /proc/[0-9]*/cgroup 2>/dev/null | grep -o 'ai-admin-[a-z]*@[^/]*[.]service' | sort -u"
)
_CURRENT = "readlink /opt/ai-admin/deployments/current"
_INSTANCE = re.compile(r"ai-admin-([a-z]+)@(.+)\.service")


class Stage:
    """A laboratory on which scenarios are played; ``problems`` is all that was not as it should."""

    def __init__(self, site: Site, directory: Path, *, seed: int, deploys: int = DEPLOYS) -> None:
        self.site = site
        self.deploys = deploys
        self.problems: list[str] = []
        self._directory = directory
        self._seed = seed
        self._plays = itertools.count(1)
        self._session: Session | None = None
        directory.mkdir(parents=True, exist_ok=True)
        # Playbooks, too, are those of the commit: a checkout may change under a long run.
        repository = make_releases(site.names.directory)
        site.inventory.repository = repository
        site.controller.playbooks = repository / "ansible"
        site.inventory.set_settings()

    @property
    def session(self) -> Session:
        """Return the customers; only once a service runs can there be any."""
        if self._session is None:
            # What one guest of a small machine can answer.
            bursts_per_s = 1.5 if self.site.kind in {"one", "beside", "newer"} else 2.5
            self._session = Session(self.site, seed=self._seed, bursts_per_s=bursts_per_s)
        return self._session

    def guests(self, group: str) -> list[Guest]:
        """Return the hosts of a group."""
        return [self.site.hosts.guests[host] for host in self.site.topology[group]]

    def leads_to(self, host: str) -> None:
        """Have the public name lead to another host, for customers and for every guest."""
        address = self.site.hosts.guests[host].address
        self.session.meta.leads_to(address)
        for guest in self.site.hosts.guests.values():
            known = guest.root / "etc/hosts"
            lines = [it for it in known.read_text().splitlines() if not it.endswith(SERVER_NAME)]
            known.write_text("\n".join([*lines, f"{address} {SERVER_NAME}", ""]))

    def tell(self, line: str) -> None:
        """Print a line of the report."""
        print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)

    def expect(self, holds: object, otherwise: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(otherwise)
            self.tell(f"PROBLEM: {otherwise}")

    def play(self, playbook: str, *arguments: str, release: str = "") -> Played:
        """Play a playbook and return what came of it; its output is kept."""
        chosen = ["-e", f"release={release}"] if release else []
        log = self._log(playbook)
        played = self.site.controller.play(playbook, *chosen, *arguments, log=log)
        self.expect("[WARNING]" not in played.output, f"{playbook} warns: see {log}")
        return played

    def breaks_off(
        self, playbook: str, *, release: str, at: str, do: Callable[[], None] | None = None
    ) -> Played:
        """Play a playbook that must not end well: by Ctrl-C where it says ``at``, or by ``do``."""
        chosen, log = ("-e", f"release={release}"), self._log(playbook)
        played = self.site.controller.meanwhile(playbook, *chosen, at=at, do=do, log=log)
        said = " / ".join(played.reasons())
        self.tell(f"{playbook} broke off at {at}: {played.lasted_ms / 1000:.1f} s: {said[:400]}")
        self.expect(played.status, f"{playbook} ended well, though it broke off at {at}")
        return played

    def _log(self, playbook: str) -> Path:
        return self._directory / f"{next(self._plays):03}-{Path(playbook).stem}.log"

    def plays_well(self, playbook: str, *arguments: str, release: str = "") -> Played:
        """Play a playbook that must succeed."""
        played = self.play(playbook, *arguments, release=release)
        what = " ".join(filter(None, [playbook, release, *arguments]))
        self.tell(f"{what}: {played.lasted_ms / 1000:.1f} s")
        reasons = "; ".join(played.reasons())
        self.expect(played.status == 0, f"{what} ended with {played.status}: {reasons}")
        return played

    def changes_nothing(self, *, release: str) -> Played:
        """Play site.yml where all is as it is to be."""
        played = self.plays_well("site.yml", release=release)
        changed = {host: count for host, count in played.changed.items() if count}
        self.expect(not changed, f"a second run of site.yml changed something: {changed}")
        return played

    @contextmanager
    def traffic(self, what: str, *, refusals_are_allowed: bool = False) -> Iterator[Chapter]:
        """Have customers write during the body, and judge: not one webhook may be refused."""
        with self.session.traffic() as chapter:
            yield chapter
        verdict = chapter.verdict
        if verdict is None:
            return
        figures, refused = verdict.figures, dict(verdict.refusals)
        self.tell(f"{what}: {figures}, refused: {refused}")
        for problem in verdict.problems:
            self.expect(holds=False, otherwise=f"{what}: {problem}")
        self.expect(refusals_are_allowed or not refused, f"{what}: webhooks refused: {refused}")

    def current(self) -> str:
        """Return the deployment that the first host says is current."""
        return self.guests("web")[0].ssh(_CURRENT).strip()

    @property
    def release(self) -> str:
        """Return the release that runs."""
        return self.current().split(".")[0]

    def expect_only(self, deployment: str) -> None:
        """Hold every host against one deployment: no process of any other is left anywhere."""
        for kind, group in (("web", "web"), ("worker", "workers"), ("scheduler", "scheduler")):
            for guest in self.guests(group):
                found = guest.ssh(_INSTANCES).splitlines()
                matches = [match for line in found if (match := _INSTANCE.fullmatch(line))]
                running = {match[2] for match in matches if match[1] == kind}
                current = guest.ssh(_CURRENT).strip()
                self.expect(
                    running == {deployment} and current == deployment,
                    f"{guest.host}: {kind} of {sorted(running)} runs, current is {current}, "
                    f"not {deployment} alone",
                )

    def close(self) -> None:
        """End the customers."""
        if self._session is not None:
            self._session.close(self._directory)
