"""A small disk for the ledger's file, to be filled up."""

import os
import shutil
import subprocess
from pathlib import Path

SIZE = "192m"
_BLOCK = b"\0" * 65_536


class SmallDisk:
    """A disk of its own under ``directory``, where this machine lets us; ``missing`` says why not.

    Mounting takes root. Without it ``fill`` must not be called.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._filler = directory / "filler"
        self.missing = "needs root to mount a small disk" if os.geteuid() else ""
        if not self.missing:
            done = _run("mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory))
            self.missing = done.stderr.strip() if done.returncode else ""

    def fill(self) -> None:
        """Leave no room."""
        with self._filler.open("wb", buffering=0) as filler:
            try:
                while filler.write(_BLOCK):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Undo ``fill``."""
        self._filler.unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the disk away with all that is on it."""
        if not self.missing:
            _run("umount", "-l", str(self._directory))
        shutil.rmtree(self._directory, ignore_errors=True)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
