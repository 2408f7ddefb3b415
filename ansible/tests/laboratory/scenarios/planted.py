"""Releases that break the promise to those who write in bursts: the judge must object to each."""

from laboratory.stage import Stage

_BROKEN = ("forgets", "repeats")


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
