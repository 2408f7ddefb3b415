"""What counts against a play: what is wrong, but not what was so when it began."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parents[1] / "roles/verify/filter_plugins/verify_new.py"
verify_new = runpy.run_path(str(PLUGIN))["verify_new"]
QUESTIONS = ["books", "lost", "overdue", "roles"]


def told(**findings: Any) -> str:
    """Return what the doctor prints: what it says by what it is about, or with cases."""
    found = []
    for about, says in findings.items():
        text, cases = (f"{len(says)} of them", says) if isinstance(says, list) else (says, None)
        one = {"level": "mistake", "about": about.replace("_", " "), "says": text, "advice": ""}
        found.append(one | ({} if cases is None else {"cases": cases}))
    return json.dumps({"ok": False, "findings": [{"level": "ok", "about": "roles"}, *found]})


@pytest.mark.parametrize(
    ("before", "now", "counted"),
    [
        pytest.param(told(), told(), [], id="all is well"),
        pytest.param("", told(overdue=["a"]), ["overdue"], id="nothing was looked at before"),
        pytest.param("not JSON", told(overdue=["a"]), ["overdue"], id="the doctor was away"),
        pytest.param(told(overdue=["a", "b"]), told(overdue=["a", "b"]), [], id="the same"),
        pytest.param(told(overdue=["a", "b"]), told(overdue=["b"]), [], id="fewer"),
        pytest.param(told(overdue=["a", "b"]), told(overdue=["c"]), ["overdue"], id="another"),
        pytest.param(told(lost="messages lost: 3"), told(lost="messages lost: 3"), [], id="lost"),
        pytest.param(
            told(lost="messages lost: 3"), told(lost="messages lost: 4"), ["lost"], id="one more"
        ),
        pytest.param(
            told(overdue="batches: 4, such as c_1"),
            told(overdue=["a"]),
            [],
            id="of a release before",
        ),
        pytest.param(told(books="x"), told(books="x"), ["books"], id="books never were right"),
        pytest.param(told(roles="x"), told(roles="x"), ["roles"], id="nobody works"),
        pytest.param(told(accounts="x"), told(accounts="x", failing="y"), [], id="not ours to ask"),
        pytest.param(
            told(dead_letters=["b1 poison"]),
            told(dead_letters=["b1 poison"]),
            [],
            id="waits for long",
        ),
        pytest.param(
            told(dead_letters=["b1 poison"]),
            told(dead_letters=["b2 ambiguous", "b1 poison"]),
            ["dead letters"],
            id="a doubt of this play",
        ),
        pytest.param(told(), told(dead_letters=["b1 poison"]), ["dead letters"], id="a death"),
        pytest.param(told(), told(dead_letters=["b1 fatal_provider"]), [], id="a provider's word"),
        pytest.param("", told(dead_letters=["b1 poison"]), [], id="by verify.yml alone"),
    ],
)
def test_what_was_so_before_does_not_count(before: str, now: str, counted: list[str]) -> None:
    found = verify_new(now, before, QUESTIONS)

    assert [finding["about"] for finding in found] == counted


def test_new_dead_letters_are_named_by_their_batches() -> None:
    (found,) = verify_new(told(dead_letters=["b2 poison", "b1 poison"]), told(), QUESTIONS)

    assert found["says"] == "2 since this play began: b2 poison, b1 poison"
