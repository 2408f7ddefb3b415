"""Bare hosts: site.yml makes a service of them, and finds nothing to do the second time."""

from laboratory.errors import LaboratoryError
from laboratory.stage import Stage


def bare_hosts(stage: Stage) -> None:
    """Set everything up, and do it once more."""
    first = stage.plays_well("site.yml", release="r1")
    if first.status:
        raise LaboratoryError("site.yml made no service: nothing else can be tried")
    again = stage.plays_well("site.yml", release="r1")
    stage.expect(again.changed, "the second run says nothing of any host")
    changed = {host: count for host, count in again.changed.items() if count}
    stage.expect(not changed, f"a second run of site.yml changed something: {changed}")
    stage.plays_well("verify.yml")
    stage.expect_only(stage.current())
