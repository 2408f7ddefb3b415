"""What a planted fault is: a small change of text that must fit exactly once."""

from dataclasses import dataclass
from pathlib import Path


class StaleMutantError(Exception):
    """The code has moved on: the fault no longer fits."""


@dataclass(frozen=True, slots=True)
class Patch:
    """``old`` becomes ``new`` in the file at ``path``; ``old`` stands there exactly once."""

    path: str
    old: str
    new: str = ""

    def apply(self, root: Path) -> None:
        """Change the file below ``root``. Raise StaleMutantError unless it fits exactly once."""
        file = root / self.path
        text = file.read_text()
        if text.count(self.old) != 1:
            raise StaleMutantError(f"{self.path}: {text.count(self.old)} times {self.old!r}")
        file.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault, named by what it does."""

    name: str
    patches: tuple[Patch, ...]

    def apply(self, root: Path) -> None:
        """Plant the fault below ``root``."""
        for patch in self.patches:
            patch.apply(root)


def lua(name: str, script: str, old: str, new: str = "") -> Mutant:
    """Return a mutant of one script."""
    return Mutant(name, (in_lua(script, old, new),))


def python(name: str, module: str, old: str, new: str = "") -> Mutant:
    """Return a mutant of one module of the domain."""
    return Mutant(name, (Patch(f"batching/{module}.py", old, new),))


def in_lua(script: str, old: str, new: str = "") -> Patch:
    """Return a change of a script."""
    return Patch(f"batching/lua/{script}.lua", old, new)
