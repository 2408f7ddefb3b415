"""``python -m tests.mutants [--guard NAME ...] [--seeds N] [WORD ...]``: plant faults.

Prints a line for each mutant: what caught it, and when. Ends with 1 if one survives, or if the
control, which has no fault, is not left in peace. WORD: only mutants with it in their names.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.faults import MUTANTS
from tests.mutants.guards import Guard, UnclearError, copy_of_tree, guards
from tests.mutants.patches import Mutant

SURVIVED = "SURVIVED"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the control and the mutants; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--guard", action="append", choices=sorted(guards(0)), help="only these")
    parser.add_argument("--seeds", type=int, default=200, help="days to simulate at most (200)")
    args = parser.parse_args(argv)
    chosen = [g for g in guards(args.seeds).values() if not args.guard or g.name in args.guard]
    mutants = [m for m in MUTANTS if all(word in m.name for word in args.words)]
    if not _control(chosen):
        return 1
    results = [_try(mutant, chosen) for mutant in mutants]
    survivors = results.count(SURVIVED)
    print(f"{len(mutants)} mutants, {survivors} survived")
    return bool(survivors)


def _control(chosen: Sequence[Guard]) -> bool:
    began = time.monotonic()
    with copy_of_tree() as tree:
        alarms = [f"{guard.name}: {found}" for guard in chosen if (found := guard.catches(tree))]
    _row("(control: no fault)", "; ".join(alarms) or "left in peace", time.monotonic() - began)
    return not alarms


def _try(mutant: Mutant, chosen: Sequence[Guard]) -> str:
    began = time.monotonic()
    caught = SURVIVED
    with copy_of_tree() as tree:
        mutant.apply(tree)
        try:
            caught = _first(chosen, tree)
        except UnclearError as error:
            print(error, file=sys.stderr)
    _row(mutant.name, caught, time.monotonic() - began)
    return caught


def _first(chosen: Sequence[Guard], tree: Path) -> str:
    for guard in chosen:
        if found := guard.catches(tree):
            return f"{guard.name}: {found}"
    return SURVIVED


def _row(name: str, caught: str, took_s: float) -> None:
    print(f"{took_s:5.1f} s  {name:<66} {caught}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
