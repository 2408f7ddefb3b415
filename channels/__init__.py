"""Channels: adapters to the providers that carry messages, one file or folder each.

A provider turns the decoded body of a webhook into events, and a part of an answer into one HTTP
call; ``channels.provider`` says what it gives. It knows no web framework and no settings.
CONTRIBUTING.md has the recipe for another.
"""

from channels.explained import Explained, explained
from channels.provider import Provider
from channels.simulator import SIMULATOR
from channels.venom import VENOM
from channels.whatsapp_cloud import WHATSAPP_CLOUD

#: Every provider that an account of the accounts file may name as its ``channel``.
CHANNELS: dict[str, Provider] = {
    provider.name: provider for provider in (WHATSAPP_CLOUD, VENOM, SIMULATOR)
}


def explain(code: str) -> Explained | None:
    """Return what a code such as ``cloud_131047`` means, in plain words; None if nobody knows it.

    It is one that an alert, a dead letter or a ``failed`` status bears.
    """
    for provider in CHANNELS.values():
        if found := provider.codes.get(code):
            return found
        start = f"{provider.prefix}_"
        if provider.prefix and code.startswith(start):
            return explained(code.removeprefix(start))
    return None
