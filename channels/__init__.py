"""Channels: adapters to the providers that carry messages, one file or folder each.

A provider turns the decoded body of a webhook into events, and a part of an answer into one HTTP
call; ``channels.provider`` says what it gives. It knows no web framework and no settings.
CONTRIBUTING.md has the recipe for another.
"""

from channels.explained import COMMON, Explained, explained
from channels.provider import Provider
from channels.simulator import SIMULATOR
from channels.venom import VENOM
from channels.whatsapp_cloud import WHATSAPP_CLOUD

#: Every provider that an account of the accounts file may name as its ``channel``.
CHANNELS: dict[str, Provider] = {
    provider.name: provider for provider in (WHATSAPP_CLOUD, VENOM, SIMULATOR)
}


#: So many codes of one meaning are known; the others are ranges that hardly occur.
ALIKE_MAX = 25


def known_codes(channel: str) -> list[str]:
    """Return the codes with which calls of a provider are known to fail; it may give others."""
    provider = CHANNELS.get(channel)
    if provider is None:
        return []
    alike: dict[Explained, list[str]] = {}
    for code, meaning in provider.codes.items():
        alike.setdefault(meaning, []).append(code)
    common = COMMON if provider.prefix else ()
    named = [code for codes in alike.values() for code in codes[:ALIKE_MAX]]
    return [*named, *(f"{provider.prefix}_{code}" for code in common)]


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
