"""``python -m tests.chaos``: hurt an installation, and see whether it keeps its promises."""

import argparse
import contextlib
import os
import secrets
import signal
import sys
from pathlib import Path

from demo.valkey import find_server
from tests.chaos.faults import DECK, KILLS, KINDS, plan
from tests.chaos.report import table
from tests.chaos.run import prepared
from tests.processes import Guard


def main() -> int:
    """Run once; return 0 where every promise was kept."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="repeat the faults of a run")
    parser.add_argument("--faults", type=int, default=200, help=f"how many; {DECK} show each kind")
    parser.add_argument("--spacing", type=float, default=3.5, help="seconds from one to the next")
    parser.add_argument("--bursts", type=float, default=4.0, help="bursts of messages a second")
    parser.add_argument(
        "--kills",
        action="store_true",
        help="only kill -9, with the default times: how long do those wait that waited?",
    )
    parser.add_argument("--keep", action="store_true", help="keep history and logs in any case")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    print(f"seed {seed}: repeat with make chaos SEED={seed}", flush=True)
    # Ended from outside, it still takes its processes and its disk away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    guard, planned = (
        Guard(),
        plan(
            seed,
            options.faults,
            spacing_s=options.spacing,
            kinds=KILLS if options.kills else KINDS,
        ),
    )
    with (
        contextlib.closing(guard),
        prepared(
            find_server(), guard, seed, bursts_per_s=options.bursts, defaults=options.kills
        ) as run,
    ):
        outcome = run.go(planned)
        print(table(planned, outcome))
        print(f"load average {os.getloadavg()[0]:.1f}")
        if outcome.problems or options.keep:
            place = Path(".chaos") / str(seed)
            run.keep(place)
            print(f"history and logs: {place}")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
