"""``python -m demo``: starts every process, says what to open, and stops them all at Ctrl-C."""

import argparse
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.child import ROOT, DemoError
from demo.play import Play
from demo.screen import Screen

PORT_MAX = 65_535
#: A closed terminal sends HUP.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """How often the demo was asked to stop: once is a wish, twice is a hurry."""

    def __init__(self) -> None:
        self._times = 0

    def __call__(self, _signal: int, _frame: object) -> None:
        """Count a signal."""
        self._times += 1

    def asked(self) -> bool:
        """Return whether the demo should stop."""
        return self._times > 0

    def hurried(self) -> bool:
        """Return whether it should stop at once."""
        return self._times > 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until told to stop; return the exit code."""
    options = _parse(arguments)
    screen, stop = Screen(verbose=options.verbose), StopRequest()
    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    play = Play(screen, port=options.port, data=options.data)
    trouble = ""
    try:
        _require_free(options.port)
        play.start(stop.asked)
        play.watch(stop.asked)
    except DemoError as error:
        trouble = str(error)
    finally:
        play.stop(stop.hurried)
    if trouble:
        print(trouble, file=sys.stderr)
    return 1 if trouble else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="Run AI Admin on this machine, with a simulator."
    )
    parser.add_argument("--port", type=_port, default=8000, help="of the web page (default: 8000)")
    parser.add_argument(
        "--data",
        type=lambda text: Path(text).resolve(),
        default=ROOT / ".demo",
        help="directory of the embedded Valkey (default: .demo)",
    )
    parser.add_argument("--verbose", action="store_true", help="show the logs of every process")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= PORT_MAX:
        raise argparse.ArgumentTypeError(f"{text}: must be 1..{PORT_MAX}")
    return int(text)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise DemoError(
                f"Port {port} cannot be used, most likely another program has it. "
                f"Stop that, or choose another: make demo ARGS='--port {min(port + 10, PORT_MAX)}'"
            ) from None


if __name__ == "__main__":
    sys.exit(main())
