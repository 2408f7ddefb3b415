"""``python -m tests.truth``: what each voice says after each fault, and after how long.

The figures depend on the machine, so nothing is asserted: they are printed.
"""

import argparse
import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from demo.valkey import find_server
from tests.processes import Guard
from tests.truth.faults import FAULTS, Voice, installation, listening, strike

AT_S = (1, 5, 15, 30, 60)


def _row(name: str, heard: Sequence[Voice], lasting_s: float) -> Iterator[str]:
    for voice in heard:
        known_s = voice.known_s()
        known = f"{known_s:.1f} s" if known_s is not None and known_s <= lasting_s else "-"
        said = " | ".join(voice.at(at_s) for at_s in AT_S if at_s <= lasting_s)
        yield f"| {name} | `{voice.name}` | {known} | {said} |"


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="make truth", description=__doc__)
    parser.add_argument("--lasting", type=float, default=61, help="how long each fault lasts, s")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="these faults")
    options = parser.parse_args()
    guard = Guard()
    with (
        contextlib.closing(guard),
        installation(find_server(), guard) as scene,
        listening(scene) as heard,
    ):
        for name in options.only or FAULTS:
            strike(scene, name, heard, lambda: time.sleep(options.lasting))
            print("\n".join(_row(name, heard, options.lasting)), flush=True)
        print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
