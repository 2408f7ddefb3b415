"""What every provider's way out needs: one call per part, what its failure means, parts that fit.

Lengths are UTF-16 units, as the messengers count: an emoji is two or more.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import httpx2

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from batching.model import Outbound
from httpjson import ErrorMap, Failure, Reply, call_json, retry_after_ms

#: The longest a connection may take, for each address of the host, ms.
CONNECT_MS_MAX = 5_000
#: Longest text of one message, in UTF-16 units. WhatsApp Web takes more, but folds it away.
TEXT_LENGTH_MAX = 4_096

#: By the HTTP status, where a provider says nothing better. Any other status, 5xx among them,
#: leaves open whether the message was taken: AmbiguousError.
BY_STATUS: Mapping[int, type[AdminError]] = {
    **dict.fromkeys((*range(400, 500), 501), PermanentError),
    # Redirected, wrong token, no such address or number: true of every message of the account.
    **dict.fromkeys((*range(300, 400), 401, 403, 404, 405), ChannelStoppedError),
    408: AmbiguousError,
    429: TransientError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpChannel:
    """A channel that hands each part over by one POST of JSON.

    ``probed`` raises where the answer of a GET of ``probe_url`` says that the account cannot send;
    None for a provider without such an address.

    An empty ``token`` sends none. ``timeout_ms`` bounds a whole call. ``prefix`` begins the codes
    of errors. ``request`` returns the body to post. ``provider_id`` returns the id that an answer
    gives, "" for none, and raises where the part was not taken or may not have been.
    """

    http: httpx2.Client
    url: str
    token: str = field(repr=False)
    timeout_ms: int
    prefix: str
    request: Callable[[Outbound], Mapping[str, object]]
    provider_id: Callable[[Reply], str]
    probe_url: str = ""
    probed: Callable[[Reply], None] | None = None
    text_length_max: int = TEXT_LENGTH_MAX

    def split(self, text: str) -> list[str]:
        """Return ``text`` in parts of at most ``text_length_max`` UTF-16 units."""
        return split(text, self.text_length_max)

    def send(self, outbound: Outbound) -> str:
        """Hand one part over and return its id; not safe to run twice. See Channel.send."""
        return self.provider_id(self._call(self.url, self.request(outbound)))

    def probe(self) -> bool:
        """Ask the provider, without sending, whether it lets the account in.

        False where it cannot be asked. Raise what a refusal means, or a failed call.
        """
        if self.probed is None:
            return False
        self.probed(self._call(self.probe_url))
        return True

    def _call(self, url: str, body: object = None) -> Reply:
        return call_json(
            self.http,
            url,
            body,
            headers={"Authorization": f"Bearer {self.token}"} if self.token else {},
            timeout_ms=self.timeout_ms,
            connect_ms_max=CONNECT_MS_MAX,
            errors=send_errors(self.prefix),
        )


def send_errors(prefix: str) -> ErrorMap:
    """Return what a failed call means for a send; the codes begin with ``prefix``.

    A send must not be repeated blindly. Until a connection stands the provider certainly does not
    have the message: TransientError. After that it may have it: AmbiguousError.
    """
    return {
        Failure.REQUEST: (PermanentError, f"{prefix}_request"),
        Failure.CONNECT_TIMEOUT: (TransientError, f"{prefix}_unreachable"),
        Failure.UNREACHABLE: (TransientError, f"{prefix}_unreachable"),
        Failure.TIMEOUT: (AmbiguousError, f"{prefix}_timeout"),
        Failure.BROKEN: (AmbiguousError, f"{prefix}_broken"),
        Failure.OVERSIZED: (AmbiguousError, f"{prefix}_oversized"),
        # Nobody cuts off what is being sent.
        Failure.CUT: (AmbiguousError, f"{prefix}_broken"),
    }


def refused(reply: Reply, code: str, error: type[AdminError] | None = None) -> AdminError:
    """Return ``error``, by default what the status means, for a refusal.

    A TransientError carries the wait that was asked for.
    """
    error = error or BY_STATUS.get(reply.status, AmbiguousError)
    detail = f"the provider answered HTTP {reply.status}"
    if issubclass(error, TransientError):
        return error(code, detail, retry_after_ms=retry_after_ms(reply.headers))
    return error(code, detail)


#: The least limit that can hold any character.
LIMIT_MIN = 2

#: Where to cut, best first: at the end of the match, which must lie beyond this share of what fits.
#: Else a short first line would cost a message of its own.
_CUTS = (
    (re.compile(r"(?=\n[^\S\n]*\n)"), 0.5),
    (re.compile(r"(?=\n)"), 0.5),
    (re.compile(r"[.!?…。！？][\"'»”’)\]]*(?=\s)"), 0.5),  # noqa: RUF001 - other scripts end so
    (re.compile(r"(?=\s)"), 0),
    (re.compile(r"(?=.)"), 0),
)
_VISIBLE = re.compile(r"\S")

_ZERO_WIDTH_JOINER = "\u200d"
_MARKS = frozenset({"Mn", "Me", "Mc"})
#: Skin tones, the tags of regional flags, vowels and finals of a Korean syllable.
_EXTENDER = re.compile("[\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u1160-\u11ff]")
_FLAG_LETTER = re.compile("[\U0001f1e6-\U0001f1ff]")


def units(text: str) -> int:
    """Return the length of ``text`` in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def split(text: str, limit: int) -> list[str]:
    """Return ``text`` in parts of at most ``limit`` UTF-16 units, at least one.

    Cut between paragraphs, else lines, sentences or words, and within a word only where there is
    no choice; only white space is dropped. Raise ValueError for a limit below 2.
    """
    if limit < LIMIT_MIN:
        raise ValueError(f"limit={limit}: must be at least {LIMIT_MIN}")
    if units(text) <= limit:
        return [text]
    parts = []
    rest = text.strip()
    while (end := _fitting(rest, limit)) < len(rest):
        cut = _cut(rest, end)
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    return [*parts, rest]


def _fitting(text: str, limit: int) -> int:
    """Return how many characters of ``text`` fit into ``limit`` units."""
    return sum(spent <= limit for spent in accumulate(map(units, text[:limit])))


def _cut(text: str, end: int) -> int:
    """Return the best place to cut ``text``, 1..``end``; it must not begin with a space."""
    for pattern, share in _CUTS:
        cut = _last(pattern, text, end)
        if cut > end * share:
            return cut
    # What is drawn as one character is longer than all that fits.
    return end


def _last(pattern: re.Pattern[str], text: str, end: int) -> int:
    """Return the last cut of ``pattern`` up to ``end``, 0 if there is none."""
    # One character beyond ``end``: a space there is dropped, so it need not fit.
    for cut in reversed([match.end() for match in pattern.finditer(text[: end + 1])]):
        following = _VISIBLE.search(text, cut)
        if 0 < cut <= end and not (following and _is_joined(text, following.start())):
            return cut
    return 0


def _is_joined(text: str, index: int) -> bool:
    """Return whether the characters around ``index``, both there, are drawn as one (annex 29)."""
    before, after = text[index - 1], text[index]
    return (
        _ZERO_WIDTH_JOINER in {before, after}
        or unicodedata.category(after) in _MARKS
        or _EXTENDER.match(after) is not None
        or _is_half_flag(text, index)
    )


def _is_half_flag(text: str, index: int) -> bool:
    """Return whether ``index`` lies inside a flag, which is two regional indicators."""
    if not _FLAG_LETTER.match(text, index):
        return False
    start = index
    while start and _FLAG_LETTER.match(text, start - 1):
        start -= 1
    return (index - start) % 2 == 1
