"""``verify_new``: what the doctor finds wrong that was not so when the play began."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

#: What may be so for hours after an outage, and is no fault of what is played now.
FORGIVEN = ("lost", "overdue")
#: Why a batch is dead whose process died, lost it or left it in doubt. What a model or a provider
#: refuses, or a person leaves undone, does not speak against a release.
GRAVE = ("ambiguous", "poison", "vanished")

Finding = Mapping[str, Any]


def verify_new(told: str, before: str, questions: list[str]) -> list[dict[str, str]]:
    """Return findings that count, ``about`` and ``says`` of each.

    ``told`` and ``before``: what ``doctor --json`` prints now and printed then; "" where nothing
    was asked then. Of ``questions`` all that is wrong counts, but for what is FORGIVEN and was so;
    new dead letters that are GRAVE count wherever it is known which were there.
    """
    then = {it["about"]: it for it in _wrong(before)}
    counted = []
    for finding in _wrong(told):
        about, known = finding["about"], then.get(finding["about"])
        says = finding["says"]
        if about in questions and not (known and about in FORGIVEN and _was_so(finding, known)):
            counted.append({"about": about, "says": says})
        elif about == "dead letters" and before:
            of_before = set(known.get("cases", ())) if known else set()
            new = [case for case in finding.get("cases", ()) if case not in of_before]
            grave = [case for case in new if case.partition(" ")[2] in GRAVE]
            if grave:
                says = f"{len(grave)} since this play began: {', '.join(grave[:5])}"
                counted.append({"about": about, "says": says})
    return counted


def _wrong(told: str) -> Iterator[Finding]:
    if told.startswith("{"):
        yield from (it for it in json.loads(told).get("findings", ()) if it["level"] != "ok")


def _was_so(finding: Finding, known: Finding) -> bool:
    """Return whether nothing was added: case by case, or by number where a release names none."""
    if finding.get("cases") and known.get("cases"):
        return set(finding["cases"]) <= set(known["cases"])
    if finding["says"] == known["says"]:
        return True
    now, then = re.search(r"\d+", finding["says"]), re.search(r"\d+", known["says"])
    return now is not None and then is not None and int(now[0]) <= int(then[0])


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filter by its name."""
        return {"verify_new": verify_new}
