"""The words for a code or an event of a provider: what it says, and what a person should do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from batching.errors import AmbiguousError
from channels.outbound import BY_STATUS


@dataclass(frozen=True, slots=True)
class Explained:
    """What something means in plain words, and what to do about it.

    Both begin in lower case and end without a full stop, to stand in a sentence.
    """

    says: str
    advice: str

    def __str__(self) -> str:
        return f"{self.says}: {self.advice}"


_WAIT = "nothing: it is tried again by itself"
_UNCLEAR = "look at the chat on the phone, then replay or discard the dead letter"

#: What a failed call means, by its code after the provider's prefix.
FAILURES: Mapping[str, Explained] = {
    **dict.fromkeys(
        ("http_401", "http_403"),
        Explained(
            "the provider does not accept our token",
            "correct the token of the account, and start fresh processes",
        ),
    ),
    **dict.fromkeys(
        ("http_404", "http_405", *(f"http_{status}" for status in range(300, 400))),
        Explained("there is nothing at the provider's address", "correct api_url of the account"),
    ),
    "http_429": Explained("the provider asks us to be slower", _WAIT),
    "unreachable": Explained("the provider could not be reached", _WAIT),
    "request": Explained("the address cannot be asked", "correct api_url of the account"),
    **dict.fromkeys(
        ("timeout", "broken", "oversized", "http_408", "no_id"),
        Explained("the provider did not say clearly whether it took the message", _UNCLEAR),
    ),
}

#: Those of them that any provider may give, and what a failing gateway answers most.
COMMON = (
    *(code for code in FAILURES if not code.startswith("http_3")),
    *(f"http_{status}" for status in (400, 500, 502, 503, 504)),
)


def explained(code: str) -> Explained | None:
    """Return what a failed call means, None if it is no code of one; without the prefix."""
    if found := FAILURES.get(code):
        return found
    if not re.fullmatch(r"http_[45]\d\d", code):
        return None
    status = code.removeprefix("http_")
    if issubclass(BY_STATUS.get(int(status), AmbiguousError), AmbiguousError):
        return Explained(f"the provider failed (HTTP {status})", _UNCLEAR)
    return Explained(
        f"the provider refused the message (HTTP {status})",
        "answer the customer by hand, then discard the dead letter",
    )
