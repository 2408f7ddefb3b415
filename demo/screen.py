"""What the demo prints."""

import sys
import threading

from demo.lines import notable

_NAME_WIDTH = 9


class Screen:
    """Prints for a person; with ``verbose`` also every line of every process."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._quiet = False
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print ``text``."""
        with self._lock:
            try:
                print(text, flush=True)
            except OSError:
                # The terminal is gone. What is being stopped must be stopped all the same.
                sys.stdout = None

    def hush(self) -> None:
        """Show no more warnings: processes that are being stopped miss each other."""
        self._quiet = True

    def log(self, name: str, line: str) -> None:
        """Print a line that the process called ``name`` wrote, if it is worth it."""
        shown = line if self._verbose else None if self._quiet else notable(line)
        if shown is not None:
            self.say("\n".join(f"{name:<{_NAME_WIDTH}} | {part}" for part in shown.split("\n")))

    def log_verbose(self, name: str, line: str) -> None:
        """Print a line of a process whose warnings mean nothing to a newcomer."""
        if self._verbose:
            self.log(name, line)
