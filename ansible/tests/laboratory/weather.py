"""Bad weather on a guest's line: frames come late, and some never. The kernel's own netem may lack.

``python -m laboratory.weather PORT DELAY_MS JITTER_MS LOSS_PERCENT`` passes the frames between a
guest's port and the bridge through two taps until it is ended. Run it inside the controller.
"""

import contextlib
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from laboratory import network
from laboratory.places import Names
from laboratory.shell import run

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_FRAME_MAX = 65_536
_BURST_MAX = 64
_IDLE_S = 0.2
_SETTLED_S = 1.0


@contextmanager
def bad_weather(
    names: Names, host: str, *, delay_ms: int, jitter_ms: int = 0, loss_percent: int = 0
) -> Iterator[None]:
    """Have it on a guest's line, in both directions, during the body."""
    figures = [str(figure) for figure in (delay_ms, jitter_ms, loss_percent)]
    program = [sys.executable, "-m", "laboratory.weather", network.port_of(host), *figures]
    process = subprocess.Popen([*network.inside(names), *program])
    try:
        time.sleep(_SETTLED_S)
        yield
    finally:
        process.terminate()
        process.wait()


class _Line:
    """The way between ``port`` and the bridge, through a tap at either side."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._inner = f"bx-{port[-10:]}"
        names = [f"ta-{port[-10:]}", f"tb-{port[-10:]}"]
        self.taps = [_tap(name) for name in names]
        for command in (
            ["add", self._inner, "type", "bridge"],
            ["set", self._inner, "up"],
            ["set", port, "master", self._inner],
            ["set", names[0], "master", self._inner, "up"],
            ["set", names[1], "master", "br0", "up"],
        ):
            run(["ip", "link", *command])

    def close(self) -> None:
        """Plug the port into the bridge again."""
        run(["ip", "link", "set", self._port, "master", "br0"])
        run(["ip", "link", "del", self._inner])


def main(arguments: Sequence[str]) -> None:
    """Pass frames until the end is asked for."""
    port, *figures = arguments
    delay_s, jitter_s = (int(figure) / 1_000 for figure in figures[:2])
    loss = int(figures[2]) / 100
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    line = _Line(port)
    try:
        _pass_frames(line.taps, delay_s, jitter_s, loss)
    finally:
        line.close()


def _pass_frames(taps: list[int], delay_s: float, jitter_s: float, loss: float) -> None:
    rng = random.Random()  # noqa: S311 - no secret
    under_way: list[tuple[float, int, int, bytes]] = []
    count = 0
    while True:
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, tap, frame = heapq.heappop(under_way)
            # A tap that is full drops, as a line does.
            with contextlib.suppress(OSError):
                os.write(tap, frame)
        wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else _IDLE_S
        readable, _, _ = select.select(taps, [], [], wait_s)
        for tap in readable:
            other = taps[1 - taps.index(tap)]
            for frame in _frames(tap):
                if rng.random() >= loss:
                    count += 1
                    due_s = time.monotonic() + delay_s + rng.uniform(-jitter_s, jitter_s)
                    heapq.heappush(under_way, (due_s, count, other, frame))


def _frames(tap: int) -> Iterator[bytes]:
    for _ in range(_BURST_MAX):
        try:
            yield os.read(tap, _FRAME_MAX)
        except OSError:
            return


def _tap(name: str) -> int:
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return tap


if __name__ == "__main__":
    main(sys.argv[1:])
