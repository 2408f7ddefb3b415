"""The worker's master: ``python -m actors``, with the options of ``dramatiq``.

``dramatiq actors:main`` runs the same workers, but its master imports nothing of ours, and its own
few lines are plain text on standard error.
"""

import contextlib
import sys
from argparse import ArgumentParser

from dramatiq import cli

from batching.errors import AdminError
from runtime import sentry
from runtime.logs import start_logging
from runtime.settings import Settings, process_environment, valid_settings

BROKER = "actors:main"


def _settings() -> Settings:
    """Return the settings; what is wrong with them the workers tell, and end."""
    try:
        return valid_settings(process_environment())
    except AdminError:
        return Settings()


def main() -> int:
    """Run workers until told to stop, and return the exit status."""
    # The name of what builds the broker may be left out.
    typed = sys.argv[1:]
    named = any(":" in it for it in typed) or {"-h", "--help", "--version"} & {*typed}
    parser: ArgumentParser = cli.make_argument_parser()  # type: ignore[no-untyped-call]
    options = parser.parse_args(typed if named else [BROKER, *typed])
    options.skip_logging = True
    settings = _settings()
    start_logging(role="worker", release=settings.release, level=settings.log_level)
    # So that the death of a worker is reported. It starts no thread before there is something.
    sentry.start_reporting(settings, "worker")
    # Dramatiq writes its workers' lines to standard error; ours are on standard output.
    with contextlib.redirect_stderr(sys.stdout):
        status: int = cli.main(options)  # type: ignore[no-untyped-call]
    sentry.flush()
    return status


if __name__ == "__main__":
    sys.exit(main())
