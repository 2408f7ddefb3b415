"""Takes a laboratory away when whoever made it is gone, however it went."""

import subprocess
import sys

from laboratory.hosts import down
from laboratory.network import end_processes
from laboratory.places import Names
from laboratory.server import dismiss


class Guard:
    """Watches over the laboratory ``names`` until it is closed, or until this process is gone."""

    def __init__(self, names: Names) -> None:
        command = [sys.executable, "-m", "laboratory.guard", names.prefix]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """Have the laboratory taken away and return when it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


if __name__ == "__main__":
    # Ends when the other side of the pipe does, and never before.
    sys.stdin.read()
    ended = Names(sys.argv[1])
    dismiss(ended)
    end_processes(ended)
    down(ended)
