"""Every fault fits the code as it is, and the simulation sees the gravest within a few seeds."""

from pathlib import Path

import pytest
import redis

from tests.mutants.faults import MUTANTS
from tests.mutants.guards import ROOT, copy_of_tree, guards
from tests.mutants.patches import Mutant, Patch, StaleMutantError

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
#: A handful, each of another kind, with a seed that saw it: the day of a seed changes with the flow
#: and the scripts, so it is only tried first. All of them are for `make mutants`.
GRAVE = {
    "no deduplication": 0,
    "collect takes no lease": 0,
    "a batch dies without an alert": 1,
    "what waited is not due once a batch has ended": 0,
    "a doubt is sent again against the policy": 0,
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_fault_fits_the_code_which_stays_code(
    mutant: Mutant, tmp_path: Path, client: redis.Redis
) -> None:
    """A mutant that no longer compiles is caught by everything, and proves nothing."""
    paths = {patch.path for patch in mutant.patches}
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())

    mutant.apply(tmp_path)

    prelude = (ROOT / "batching" / "lua" / "_prelude.lua").read_text()
    for path in paths:
        text = (tmp_path / path).read_text()
        if path.endswith(".lua"):
            client.script_load(prelude + text)
        else:
            compile(text, path, "exec")


def test_faults_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(MUTANTS)


@pytest.mark.parametrize("text", ["nothing of the kind", "twice twice"])
def test_fault_that_does_not_fit_exactly_once_is_stale(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)

    with pytest.raises(StaleMutantError):
        Patch("file", "twice", "once").apply(tmp_path)


@pytest.mark.parametrize("name", GRAVE)
def test_simulation_sees_a_grave_fault_within_few_seeds(valkey_binary: str, name: str) -> None:
    assert valkey_binary
    with copy_of_tree() as tree:
        BY_NAME[name].apply(tree)

        simulation = guards(seeds=300, before=[GRAVE[name]])["simulation"]
        assert simulation.catches(tree).startswith("seed ")
