"""A receptionist without a network: answers from the prompt file by rules, always the same.

The default for demos and tests. It understands greetings, prices, opening hours, the address,
wishes for a day and a time, and thanks, in English and Russian; for the rest it offers a person.

    prompt file ── facts ──▶ Facts ┐
    burst ── burst ──▶ Burst ──────┼── answers ──▶ one reply
    history ── progress ──▶ Wish ──┘
"""

from llm.scripted.model import Scripted, ScriptedModel

__all__ = ["Scripted", "ScriptedModel"]
