"""``python -m tests.mutants [--guard NAME ...] [--seeds N] [WORD ...]``: plant faults.

Prints a line for each mutant: what caught it, and when. Ends with 1 if one survives, or if the
control, which has no fault, does not survive. WORD: only mutants with it in their names.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.mutants.faults import MUTANTS
from tests.mutants.guards import Guard, UnclearError, copy_of_tree, guards
from tests.mutants.patches import Mutant

CONTROL, SURVIVED, UNCLEAR = "(control: no fault)", "SURVIVED", "UNCLEAR"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the control and the mutants; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--guard", action="append", choices=sorted(guards(0)), help="only these")
    parser.add_argument("--seeds", type=int, default=200, help="days to simulate at most (200)")
    args = parser.parse_args(argv)
    chosen = [g for g in guards(args.seeds).values() if not args.guard or g.name in args.guard]
    mutants = [m for m in MUTANTS if all(word in m.name for word in args.words)]
    if _try(Mutant(CONTROL, ()), chosen) != SURVIVED:
        return 1
    survivors = [m.name for m in mutants if _try(m, chosen) in {SURVIVED, UNCLEAR}]
    print(f"{len(mutants)} mutants, {len(survivors)} survived")
    return bool(survivors)


def _try(mutant: Mutant, chosen: Sequence[Guard]) -> str:
    """Return what caught the mutant, and print it."""
    began, caught = time.monotonic(), SURVIVED
    with copy_of_tree() as tree:
        mutant.apply(tree)
        try:
            found = ((guard.name, guard.catches(tree)) for guard in chosen)
            caught = next((f"{name}: {test}" for name, test in found if test), SURVIVED)
        except UnclearError as error:
            print(error, file=sys.stderr)
            caught = UNCLEAR
    print(f"{time.monotonic() - began:5.1f} s  {mutant.name:<66} {caught}", flush=True)
    return caught


if __name__ == "__main__":
    sys.exit(main())
