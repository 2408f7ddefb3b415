"""What stands guard: the tests of the domain, the ledger against its model, the simulation."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent.parent
#: How long a guard may take on a busy machine; one that takes longer has found out nothing.
PATIENCE_S = 1_200
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
_PYTEST = (
    *("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"),
    *("-o", "faulthandler_timeout=0", "--hypothesis-profile=mutants"),
)
_MODEL = "tests/batching/test_store_model.py"
#: Names the first test that failed, or the first seed that broke; not a file that did not load.
_CAUGHT = re.compile(r"^(?:FAILED|ERROR) \S+?([^/\s]+::\S+)|^(seed \d+) BREAKS", re.MULTILINE)


class UnclearError(Exception):
    """A guard ended badly and did not say what it had seen: that is no catch."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One way to notice a fault: a command of this Python, run in a copy of the tree."""

    name: str
    arguments: tuple[str, ...]

    def catches(self, tree: Path) -> str:
        """Return what noticed that something is wrong in ``tree``, "" if nothing did.

        Raise UnclearError.
        """
        try:
            done = subprocess.run(
                [sys.executable, *self.arguments],
                cwd=tree,
                # A mutant must not be hidden by the bytecode of the code before it.
                env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "CI": "true"},
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_S,
            )
        except subprocess.TimeoutExpired as error:
            raise UnclearError(f"{self.name}: still busy after {PATIENCE_S} s") from error
        if done.returncode == 0:
            return ""
        found = _CAUGHT.search(done.stdout)
        if found is None:
            raise UnclearError(f"{self.name}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return str(next(filter(None, found.groups())))


def guards(seeds: int, *, before: Sequence[int] = ()) -> dict[str, Guard]:
    """Return all, the quickest first.

    ``seeds``: how many days are simulated at most; ``before``: seeds that are tried first.
    """
    ignored = (f"--ignore={_MODEL}", "--ignore=tests/batching/test_lua_headers.py")
    simulation = ("-m", "tests.simulation", "--seeds", str(seeds), "--failures", "1")
    first = ("--before", *map(str, before)) if before else ()
    found = (
        Guard("tests", (*_PYTEST, *ignored, "tests/batching")),
        Guard("simulation", (*simulation, *first)),
        Guard("model", (*_PYTEST, _MODEL)),
    )
    return {guard.name: guard for guard in found}


@contextmanager
def copy_of_tree() -> Iterator[Path]:
    """Yield a copy of the working tree that may be broken."""
    with TemporaryDirectory(prefix="aa-mutant-") as directory:
        tree = Path(directory) / "tree"
        shutil.copytree(ROOT, tree, ignore=LEFT_OUT)
        yield tree
