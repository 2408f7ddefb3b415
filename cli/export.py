"""``export``: print all that is kept of a customer, for the customer."""

from argparse import ArgumentParser
from json import dumps

from batching.export import export
from batching.inspect import trace
from cli.common import Request, add_conversation, named_conversations, printable, write

REMAINS = (
    "Backups hold what was kept when they were made. Logs, alerts and Sentry name the conversation "
    "by a digest alone. Providers of the messenger and of the model keep records of their own."
)


def arguments(parser: ArgumentParser) -> None:
    """Add the conversation, --customer and --account."""
    add_conversation(parser)


def run(request: Request) -> bool:
    """Print a document with the texts; False if nothing is kept."""
    store = request.open_store()
    known = [it for it in named_conversations(request, store) if trace(store, it).is_known]
    document = {"conversations": [export(store, it) for it in known], "elsewhere": REMAINS}
    write(printable(dumps(document, ensure_ascii=False, indent=2)) + "\n")
    return bool(known)
