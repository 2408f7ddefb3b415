"""Releases that break the promise where no canary sees it: the judge must object to each."""

from laboratory.stage import Stage

_BROKEN = ("forgets", "repeats")


def planted(stage: Stage) -> None:
    """Deploy each, see the judge object, and go back to a good release."""
    for release in _BROKEN:
        with stage.session.traffic() as chapter:
            stage.plays_well("deploy.yml", release=release)
            chapter.wait(8)
        found = chapter.verdict.problems if chapter.verdict else []
        stage.tell(f"release {release}, the judge: {len(found)} problems, {found[:2]}")
        stage.expect(found, f"release {release}: the judge finds nothing")
    stage.plays_well("deploy.yml", release="r1")
