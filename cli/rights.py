"""``export`` and ``erase``: a copy of all that is kept of a customer, and its deletion."""

from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from json import dumps

from batching.identity import family
from batching.inspect import trace
from batching.rights import erase, export
from channels import CHANNELS
from cli.common import (
    Request,
    add_conversation,
    confirmed,
    named_conversations,
    printable,
    write,
)

ELSEWHERE = (
    "Backups hold what was kept when they were made. Logs, alerts and Sentry name the conversation "
    "by a digest alone. Providers of the messenger and of the model keep records of their own."
)
REMAINS = (
    "The append-only file keeps deleted texts until it is rewritten: run BGREWRITEAOF now.",
    "Backups and snapshots of Redis keep them until they are deleted.",
    "Logs, alerts and Sentry name the conversation by its digest alone, no text and no number.",
    "The messenger's and the model's providers keep records of their own: ask them.",
    "A digest of the id of a message of ours that never arrived expires within two days.",
    "A message that the provider delivers again, or a new one, begins a new conversation.",
)


def add_erase(parser: ArgumentParser) -> None:
    """Add the conversation, --customer, --account and --yes."""
    add_conversation(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run_erase(request: Request) -> bool:
    """Erase the conversations; False if there was nothing, or the operator declined."""
    store = request.open_store()
    named = named_conversations(request, store)
    known = [c for c in named if trace(store, c).is_known]
    warning = f"This deletes for good: {', '.join(known) or 'nothing that is known'}."
    if not confirmed([warning], "Go on?", yes=request.arguments.yes):
        return False
    total: Counter[str] = Counter()
    for conversation in named:
        total.update(asdict(erase(store, conversation)))
        total["transcripts"] += sum(
            provider.forget(store, conversation)
            for provider in CHANNELS.values()
            if provider.forget
        )
    found = any(total.values())
    lines = ["Nothing is kept of such a customer: was the id typed as it was delivered?"]
    if found:
        counts = ", ".join(f"{name} {count}" for name, count in total.items() if count)
        lines = [f"Erased: {counts}.", *REMAINS]
    remains = list(REMAINS) if found else []
    request.show({"conversations": known, "erased": dict(total), "remains": remains}, lines)
    return found


def run_export(request: Request) -> bool:
    """Print a document with the texts, for the customer; False if nothing is kept."""
    store = request.open_store()
    named = [it for named in named_conversations(request, store) for it in family(store, named)]
    known = [found for it in dict.fromkeys(named) if (found := trace(store, it)).is_known]
    document = {
        "conversations": [export(store, found) for found in known],
        "elsewhere": ELSEWHERE,
    }
    write(printable(dumps(document, ensure_ascii=False, indent=2)) + "\n")
    return bool(known)
