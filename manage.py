"""The operator's command line: ``python manage.py VERB``. The verbs are in cli/."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from batching.errors import AdminError
from cli import EXIT_ACT, EXIT_OK, VERBS
from cli.common import Request, UsageError, write
from runtime.build import error_text
from runtime.settings import ENV_FILE, process_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit status: 0 all is well, 1 a person must act.

    Raise SystemExit: 2 for wrong usage, 0 for --help.
    """
    parser = argparse.ArgumentParser(prog="manage.py", description="Look after AI Admin.")
    parser.add_argument(
        "--env-file",
        type=Path,
        default=ENV_FILE,
        metavar="PATH",
        help="settings of the installation (default: .env); what the environment sets wins",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb in VERBS:
        command = verbs.add_parser(verb.name, help=verb.summary, description=verb.summary)
        command.add_argument("--json", action="store_true", help="print JSON for a program")
        verb.arguments(command)
        command.set_defaults(run=verb.run)
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        # Not repeated: it may be a customer's number.
        parser.error(f"arguments that this verb does not take: {len(unknown)}; see --help")
    if given.env_file != ENV_FILE and not given.env_file.is_file():
        parser.error(f"--env-file {given.env_file}: there is no such file")
    try:
        fine: bool = given.run(Request(given, process_environment(given.env_file)))
    except UsageError as error:
        parser.error(str(error))
    except AdminError as error:
        if given.json:
            write(json.dumps({"ok": False, "code": error.code, "error": error_text(error)}) + "\n")
        else:
            print(error_text(error), file=sys.stderr)
        return EXIT_ACT
    return EXIT_OK if fine else EXIT_ACT


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        write("")  # argparse prints the text of --help, and may leave it in the buffer
