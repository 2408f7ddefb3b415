"""What the laboratory takes for granted, looked at without making a host."""

from pathlib import Path

import pytest

from laboratory.hosts import TOPOLOGIES, size
from laboratory.places import LaboratoryError, Names
from laboratory.playbook import Played
from laboratory.releases import RELEASES, make_releases
from laboratory.scenarios import LONG, SCENARIOS, SHORT
from laboratory.shell import run

_OUTPUT = """
fatal: [h2]: FAILED! =>
    msg: 'Refused, nothing was switched: no'

PLAY RECAP ****
h1                         : ok=140  changed=0    unreachable=0    failed=0    skipped=33
h2                         : ok=12   changed=3    unreachable=0    failed=1    skipped=0
"""


def test_releases_under_test_fit_the_code(tmp_path: Path) -> None:
    """Each changes something; one that no longer fits would prove nothing."""
    clone = make_releases(tmp_path)

    assert set(run(["git", "-C", clone, "tag"]).split()) == set(RELEASES)


def test_four_hosts_leave_another_for_each_that_is_hurt() -> None:
    four = TOPOLOGIES["four"]

    assert size(four) == 4
    assert [group for group in ("web", "workers", "scheduler") if len(four[group]) != 2] == []
    assert "h4" not in (*four["web"], *four["ledger"], *four["proxy"])


def test_scenarios_that_are_chosen_exist() -> None:
    assert {*LONG, *SHORT} == set(SCENARIOS)


def test_what_came_of_a_playbook_is_read_from_what_it_printed() -> None:
    played = Played("site.yml", 2, _OUTPUT, 1_000)

    assert played.changed == {"h1": 0, "h2": 3}
    assert list(played.reasons()) == [
        "fatal: [h2]: FAILED! =>",
        "msg: 'Refused, nothing was switched: no'",
    ]


@pytest.mark.parametrize("prefix", ["", "9lives", "h-x", "toolongaprefix", "Lab"])
def test_prefix_that_could_name_other_things_is_refused(prefix: str) -> None:
    with pytest.raises(LaboratoryError, match=r"must be 1\.\.8"):
        Names(prefix)
