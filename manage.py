"""The operator's command line: ``python manage.py VERB``. The verbs are in cli/."""

import argparse
import sys
from collections.abc import Sequence

from batching.errors import AdminError
from cli import VERBS
from cli.common import EXIT_ACT, Request, UsageError
from runtime.build import error_text
from runtime.settings import process_environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit status: 0 all is well, 1 a person must act, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="manage.py", description="Look after AI Admin.")
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
    try:
        status: int = given.run(Request(given, process_environment()))
    except UsageError as error:
        parser.error(str(error))
    except AdminError as error:
        print(error_text(error), file=sys.stderr)
        return EXIT_ACT
    return status


if __name__ == "__main__":
    sys.exit(main())
