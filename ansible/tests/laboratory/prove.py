"""Plays scenarios on a laboratory of their own, and says what was not as it should be."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from laboratory.scenarios import SCENARIOS
from laboratory.site import passing
from laboratory.stage import DEPLOYS, Stage


def prove(
    prefix: str,
    kind: str,
    scenarios: Sequence[str],
    directory: Path,
    *,
    seed: int,
    deploys: int = DEPLOYS,
) -> list[str]:
    """Make hosts of a kind, play scenarios, take the hosts away, and return the problems.

    What playbooks printed and customers saw is left in ``directory``.
    """
    shutil.rmtree(directory, ignore_errors=True)
    with passing(prefix, kind) as site:
        stage = Stage(site, directory, seed=seed, deploys=deploys)
        try:
            for scenario in scenarios:
                began_s = time.monotonic()
                stage.tell(f"-- {scenario} ({kind})")
                SCENARIOS[scenario](stage)
                stage.tell(f"-- {scenario} took {time.monotonic() - began_s:.0f} s")
        finally:
            stage.close()
            for host, guest in site.hosts.guests.items():
                guest.keep_journal(directory / f"{host}.journal")
    return stage.problems
