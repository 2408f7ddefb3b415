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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until a signal, the second of which ends every wait; return the exit code."""
    options = _parse(arguments)
    signals: list[int] = []
    for each in STOP_SIGNALS:
        signal.signal(each, lambda number, _frame: signals.append(number))
    try:
        _require_free(options.port)
        Play(Screen(verbose=options.verbose), signals, port=options.port, data=options.data).run()
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


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
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        raise DemoError(
            f"Port {port} cannot be used, most likely another program has it. "
            f"Stop that, or choose another: make demo ARGS='--port {min(port + 10, PORT_MAX)}'"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
