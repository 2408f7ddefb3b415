"""How much of a server's append-only file is on the disk, by the system calls it makes."""

import re
import shutil
import subprocess
import time
from pathlib import Path

#: One line of strace: the thread, then a call, its end, or both.
_LINE = re.compile(
    r"(?P<pid>\d+) +(?:<\.\.\. )?(?P<call>write|fdatasync)(?:\((?P<fd>\d+)| resumed)"
    r"(?P<rest>.*)"
)
_RESULT = re.compile(r"= (\d+)$")
ATTACH_S = 10.0


def missing() -> str:
    """Return what this machine lacks to measure it, "" for nothing."""
    return "" if shutil.which("strace") else "needs strace"


class SyncWatch:
    """Follows the process ``pid``, whose file is ``path``, until it ends."""

    def __init__(self, pid: int, path: Path, trace: Path) -> None:
        self._fd = _descriptor(pid, path)
        self._begun = path.stat().st_size
        self._trace = trace
        command = ["strace", "-f", "-s", "0", "-e", "trace=write,fdatasync", "-o", str(trace)]
        self._process = subprocess.Popen(
            [*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True
        )
        # It says so, once it sees every call.
        assert self._process.stderr is not None
        self._process.stderr.readline()
        end = time.monotonic() + ATTACH_S
        while "TracerPid:\t0" in Path(f"/proc/{pid}/status").read_text():
            assert time.monotonic() < end, "strace did not attach"
            time.sleep(0.01)

    def synced(self) -> int:
        """Return how many bytes of the file were synced for sure; call when the process is gone."""
        self._process.communicate()
        written = synced = self._begun
        begun: dict[tuple[str, str], tuple[str, int]] = {}
        for line in self._trace.read_text(errors="replace").splitlines():
            found = _LINE.match(line)
            if not found:
                continue
            who = (found["pid"], found["call"])
            if found["fd"]:
                # A sync covers what was written before it began.
                begun[who] = (found["fd"], written)
            fd, before = begun.get(who, ("", 0))
            result = _RESULT.search(found["rest"])
            if not result or fd != self._fd:
                continue
            if found["call"] == "write":
                written += int(result[1])
            elif result[1] == "0":
                synced = max(synced, before)
        return synced


def _descriptor(pid: int, path: Path) -> str:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if entry.resolve() == path.resolve():
            return entry.name
    raise AssertionError(f"{path} is not open in process {pid}")
