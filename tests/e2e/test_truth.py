"""Of each fault every voice says what it is asked for; `make truth` prints all faults and times."""

import pytest

from tests.processes import Guard
from tests.truth.faults import installation, listening, strike
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

#: Fault → the voices that say so.
KNOWN_BY = {
    "worker killed": {"/healthz", "doctor"},
    "broker frozen": {"/healthz", "doctor"},
    "ledger frozen": {"/readyz", "/healthz", "doctor"},
}


def test_dead_part_elsewhere_makes_no_web_host_unready_and_is_known_all_the_same(
    valkey_binary: str, guard: Guard
) -> None:
    """A frozen ledger does: nothing can be kept. None of them ends the web process."""
    known = {}
    with installation(valkey_binary, guard) as scene, listening(scene) as heard:
        for fault, voices in KNOWN_BY.items():
            them = [it for it in heard if it.name in voices]
            strike(
                scene,
                fault,
                heard,
                lambda them=them: eventually(  # type: ignore[misc]
                    lambda: all(it.now != it.well for it in them), what="it to be known"
                ),
            )
            known[fault] = {it.name for it in heard if it.known_s() is not None}

    assert known == KNOWN_BY
