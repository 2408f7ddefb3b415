"""Whether a secret can be guessed."""

import re
from itertools import pairwise

#: Enough for 128 bits in any notation; `openssl rand -hex 32` gives 64 characters.
SECRET_LENGTH_MIN = 32
_DISTINCT_MIN = 8
#: The shortest part whose repetition is as good as the part alone.
_PERIOD_MIN = 16
_PLACEHOLDER = re.compile(
    r"change|replace|example|placeholder|secret|password|default|develop|insecure|dummy|sample"
    r"|your|todo|test|demo|12345|abcdef|qwerty|[<>{}$]",
    re.IGNORECASE,
)
#: Of so many characters of all three classes, a word of the list is a coincidence.
_MIXED_LENGTH, _MIXED_DISTINCT = 40, 20


def secret_problem(value: str, length_min: int = SECRET_LENGTH_MIN) -> str | None:
    """Return why ``value`` is too weak for production, without showing it; None if it is not."""
    if not value:
        return f"is missing; make one with: openssl rand -hex {SECRET_LENGTH_MIN}"
    if len(value) < length_min:
        return f"has {len(value)} characters: must be at least {length_min}"
    worded = not _is_random(value) and _PLACEHOLDER.search(value)
    if len(set(value)) < _DISTINCT_MIN or _is_regular(value) or worded:
        return "looks like a placeholder; make one with: openssl rand -hex 32"
    return None


def _is_random(value: str) -> bool:
    """Return whether ``value`` has the form of random characters, which may spell anything."""
    if re.fullmatch(r"[0-9a-fA-F]{32,}", value):
        return True
    mixed = all(re.search(kind, value) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return mixed and len(value) >= _MIXED_LENGTH and len(set(value)) >= _MIXED_DISTINCT


def _is_regular(value: str) -> bool:
    """Return whether ``value`` repeats a short part of itself, or mostly counts up or down."""
    steps = [ord(after) - ord(before) for before, after in pairwise(value)]
    counting = sum(abs(step) == 1 for step in steps)
    return (value + value).find(value, 1) < _PERIOD_MIN or counting * 2 > len(steps)
