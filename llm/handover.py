"""How a model says that a person is to go on: a tool, or a line for servers without tools.

Whatever of it cannot be read is a hand-over all the same, for a reason that is unknown.
"""

import json
import re
from typing import Any, get_args

from batching.model import SUMMARY_CHARACTERS_MAX, Handover, Urgency

#: The tool's name, in both dialects.
NAME = "hand_over"
#: What a model may give as the reason.
REASONS = ("asked", "upset", "not_known", "booking", "other")
DESCRIPTION = (
    "Have a person from the team told that they are to go on in this conversation. Call it "
    "whenever your answer says that a person will answer, confirm, check or look into something, "
    "and write that answer, too."
)
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "reason": {
            "type": "string",
            "enum": list(REASONS),
            "description": "asked: they ask for a person; upset: they complain; not_known: you do "
            "not know; booking: a person must confirm a day and time; other: anything else",
        },
        "summary": {
            "type": "string",
            "maxLength": SUMMARY_CHARACTERS_MAX,
            "description": "What that person should know, in one or two sentences.",
        },
        "urgency": {"type": "string", "enum": list(get_args(Urgency))},
    },
    "required": ["reason", "summary", "urgency"],
}
#: The rule of the prompt, by whether the server takes tools.
RULES = {
    True: "Whenever you say that a person will answer, confirm, check or look into something, also "
    f"call the tool {NAME}: without it nobody hears of it. You have no other tools",
    False: "Whenever you say that a person will answer, confirm, check or look into something, end "
    "with one more line, which the customer does not see and without which nobody hears of it: "
    f"[[hand over | REASON | URGENCY | what that person should know]]. REASON is one of "
    f"{', '.join(REASONS)}; URGENCY is low, normal or high. You have no tools",
}
_NOTE = re.compile(r"\[\[\s*hand[ _-]?over\b(.*?)(?:\]\]|\Z)", re.IGNORECASE | re.DOTALL)


def of_call(arguments: object) -> Handover:
    """Return the hand-over of a call of a tool, whose arguments are a table or JSON of one."""
    given: object = arguments
    if isinstance(arguments, str):
        try:
            given = json.loads(arguments)
        except (ValueError, RecursionError):
            # As it was written: a person reads more of it than we.
            return Handover("unknown", arguments)
    if not isinstance(given, dict):
        return Handover()
    reason, summary, urgency = (given.get(name) for name in ("reason", "summary", "urgency"))
    return Handover(
        reason if isinstance(reason, str) else "unknown",
        summary if isinstance(summary, str) else "",
        urgency if isinstance(urgency, str) else "normal",
    )


def without_note(text: str) -> tuple[str, Handover | None]:
    """Return a model's text without the line that hands over, and the hand-over; None for none.

    A line that is cut short goes with all that follows it.
    """
    found = _NOTE.search(text)
    if found is None:
        return text, None
    left = _NOTE.sub("", text).strip()
    match [part.strip() for part in found[1].strip(" |").split("|")]:
        case [reason, urgency, *summary]:
            return left, Handover(reason.casefold(), " | ".join(summary), urgency.casefold())
    return left, Handover("unknown", found[1])
