"""Read a body in which anything may stand anywhere: what has the wrong type reads as absent.

Nothing here raises and nothing recurses, however odd or deep the body is.
"""

import math

from batching.errors import MalformedError
from channels.text import clean

Record = dict[str, object]

#: Longest id taken as one, in characters. Meta's are below 150.
ID_LENGTH_MAX = 512
#: Longest address taken as one, in characters; what is longer holds the thing itself.
URL_LENGTH_MAX = 4_096

#: Longest whole number read as text, in digits: Python refuses to print those of thousands.
_DIGITS_MAX = 18

#: Seconds since the epoch that may be a message's time: September 2001 to November 2286.
_SECONDS = range(1_000_000_000, 10_000_000_000)


def at(value: object, *path: str) -> object:
    """Return what ``path`` leads to in ``value``, None where there is no such thing."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def record(value: object, *path: str) -> Record:
    """Return the object that ``path`` leads to, {} where there is none."""
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def items(value: object, *path: str) -> list[object]:
    """Return the list that ``path`` leads to, [] where there is nothing; one thing is a list."""
    found = at(value, *path)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def text(value: object, *path: str) -> str:
    """Return the cleaned text, or the number as text, that ``path`` leads to; "" for neither."""
    match at(value, *path):
        case str(words):
            return clean(words)
        case bool():
            return ""
        case int(number) if abs(number) < 10**_DIGITS_MAX:
            return str(number)
        case float(number) if math.isfinite(number):
            return str(number)
    return ""


def identifier(value: object, *path: str) -> str:
    """Return the id that ``path`` leads to; "" for none, a blank one and one absurdly long."""
    found = text(value, *path)
    return found if found.strip() and len(found) <= ID_LENGTH_MAX else ""


def url(value: object, *path: str) -> str:
    """Return the address that ``path`` leads to; "" for none and one absurdly long."""
    found = text(value, *path)
    return found if len(found) <= URL_LENGTH_MAX else ""


def whole_number(value: object, *path: str) -> int | None:
    """Return the whole number, or its decimal digits as text, that ``path`` leads to."""
    found = text(value, *path)
    if found.isascii() and found.isdecimal() and len(found) <= _DIGITS_MAX:
        return int(found)
    return None


def moment_ms(value: object, *path: str) -> int:
    """Return the seconds since the epoch that ``path`` leads to in ms, 0 if absurd or absent."""
    seconds = whole_number(value, *path)
    return seconds * 1000 if seconds is not None and seconds in _SECONDS else 0


def required(found: str, name: str) -> str:
    """Return ``found``. Raise MalformedError, which names the field, where it is ""."""
    if not found:
        raise MalformedError("missing_field", f"{name}: must be there")
    return found
