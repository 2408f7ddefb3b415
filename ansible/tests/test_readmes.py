"""What is written of roles is what they take."""

from pathlib import Path

import pytest
from readmes import ROLES, defaults, options, readme

from laboratory.places import PLAYBOOKS

EVERY = sorted(ROLES.iterdir())


@pytest.mark.parametrize("role", EVERY, ids=lambda role: role.name)
def test_readme_is_what_the_specification_says(role: Path) -> None:
    assert (role / "README.md").read_text() == readme(role), "python ansible/tests/readmes.py"


@pytest.mark.parametrize("role", EVERY, ids=lambda role: role.name)
def test_variable_has_a_specification_and_a_default_or_must_be_given(role: Path) -> None:
    specified = options(role)
    without = [name for name in specified if name not in defaults(role)]

    assert {*defaults(role)} - {*specified} == set()
    assert [name for name in without if not specified[name].get("required")] == []


def test_readme_names_every_role() -> None:
    named = (PLAYBOOKS / "README.md").read_text()

    assert [
        role.name for role in EVERY if f"| [`{role.name}`](roles/{role.name}/" not in named
    ] == []
