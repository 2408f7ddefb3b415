"""``erase``: forget a customer, and say what remains and why."""

from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict

from batching.erase import erase
from batching.inspect import trace
from channels.simulator import forget
from cli.common import (
    CONVERSATION,
    EXIT_ACT,
    EXIT_OK,
    Request,
    UsageError,
    add_customer,
    confirmed,
    conversations,
    open_store,
    write,
    write_json,
)

REMAINS = (
    "The append-only file keeps deleted texts until it is rewritten: run BGREWRITEAOF now.",
    "Backups and snapshots of Redis keep them until they are deleted.",
    "Logs, alerts and Sentry name the conversation by its digest alone, no text and no number.",
    "The messenger's and the model's providers keep records of their own: ask them.",
    "An id of a message of ours that never arrived, as a digest, goes within two days.",
    "A message that the provider delivers again, or a new one, begins a new conversation.",
)


def arguments(parser: ArgumentParser) -> None:
    """Add the conversation, --customer, --account and --yes."""
    parser.add_argument("conversation", nargs="?", help="its id, c_ and 24 hex digits")
    add_customer(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(request: Request) -> int:
    """Forget the conversations that are meant; 1 if there was nothing, or the operator declined.

    Raise UsageError, ConfigurationError or LedgerUnavailableError.
    """
    store, typed = open_store(request.environ), request.arguments
    if (typed.conversation is None) == (typed.customer is None):
        raise UsageError("name a conversation, or a customer by --customer")
    if typed.conversation is None:
        meant = conversations(request, store)
    elif CONVERSATION.fullmatch(typed.conversation):
        meant = [typed.conversation]
    else:
        raise UsageError("a conversation is c_ and 24 hex digits; a customer is --customer")
    known = [c for c in meant if trace(store, c).is_known]
    warning = f"This forgets for good: {', '.join(known) or 'nothing that is known'}."
    if not confirmed([warning], "Go on?", yes=typed.yes):
        return EXIT_ACT
    total: Counter[str] = Counter()
    for conversation in meant:
        total.update(asdict(erase(store, conversation)))
        total["transcripts"] += forget(store.client, conversation)
    found = any(total.values())
    if request.as_json:
        remains = list(REMAINS) if found else []
        write_json({"conversations": known, "erased": dict(total), "remains": remains})
    elif found:
        told = ", ".join(f"{name} {count}" for name, count in total.items() if count)
        write([f"Erased: {told}.", *REMAINS])
    else:
        write(["Nothing is kept of such a customer: was the id typed as it was delivered?"])
    return EXIT_OK if found else EXIT_ACT
