"""Tells a secret that somebody made from one that somebody left as he found it."""

import re

#: Enough for 128 bits however it is written down; `openssl rand -hex 32` gives 64.
SECRET_LENGTH_MIN = 32
_DISTINCT_MIN = 8
_PLACEHOLDER = re.compile(
    r"change|replace|example|placeholder|secret|password|default|develop|insecure|dummy|sample"
    r"|your|todo|test|demo|12345|abcdef|qwerty|[<>{}$]",
    re.IGNORECASE,
)


def secret_problem(value: str) -> str | None:
    """Return why ``value`` must not guard a production, without showing it; None if it may."""
    if not value:
        return f"is missing; make one with: openssl rand -hex {SECRET_LENGTH_MIN}"
    if len(value) < SECRET_LENGTH_MIN:
        return f"has {len(value)} characters: must be at least {SECRET_LENGTH_MIN}"
    random_hex = re.fullmatch(r"[0-9a-fA-F]{64,}", value)
    if len(set(value)) < _DISTINCT_MIN or (not random_hex and _PLACEHOLDER.search(value)):
        return "looks like a placeholder; make one with: openssl rand -hex 32"
    return None
