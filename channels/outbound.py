"""What every provider's ``send`` needs: text in parts that fit, and what a failed call means.

Lengths are UTF-16 units, as the messengers count: an emoji is two or more.
"""

import re
import unicodedata
from collections.abc import Mapping

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from httpjson import ErrorMap, Failure, Reply, retry_after_ms

#: The longest a connection may take, for each address of the host, ms.
CONNECT_MS_MAX = 5_000

#: By the HTTP status, where a provider says nothing better. Any other status, 5xx among them,
#: leaves open whether the message was taken: AmbiguousError.
BY_STATUS: Mapping[int, type[AdminError]] = {
    **dict.fromkeys(range(400, 500), PermanentError),
    # Redirected, wrong token, no such address or number: true of every message of the account.
    **dict.fromkeys((*range(300, 400), 401, 403, 404, 405), ChannelStoppedError),
    408: AmbiguousError,
    429: TransientError,
}


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
    }


def refused(error: type[AdminError], code: str, reply: Reply) -> AdminError:
    """Return ``error`` for a refusal; a TransientError carries the wait that was asked for."""
    detail = f"the provider answered HTTP {reply.status}"
    if issubclass(error, TransientError):
        return error(code, detail, retry_after_ms=retry_after_ms(reply.headers))
    return error(code, detail)


#: The least limit that can hold any character.
LIMIT_MIN = 2
#: Graphemes longer than this (stacked combining marks) may be cut, in code points.
_GRAPHEME_MAX = 64

#: Where to cut, best first: at the end of the match. None may leave a part shorter than half of
#: what fits, else a short first line would cost a message of its own.
_CUTS = (
    re.compile(r"(?=\n[^\S\n]*\n)"),
    re.compile(r"(?=\n)"),
    re.compile(r"[.!?…。！？][\"'»”’)\]]*(?=\s)"),  # noqa: RUF001 - other scripts end sentences so
)
_WORD = re.compile(r"(?=\s)")
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
    spent = 0
    for index, character in enumerate(text[:limit]):
        spent += 2 if character > "\uffff" else 1
        if spent > limit:
            return index
    return min(len(text), limit)


def _cut(text: str, end: int) -> int:
    """Return the best place to cut ``text``, 1..``end``; it must not begin with a space."""
    for pattern in _CUTS:
        cut = _last(pattern, text, end)
        if cut > end // 2:
            return cut
    word = _last(_WORD, text, end)
    if word:
        return word
    for cut in range(end, max(end - _GRAPHEME_MAX, 0), -1):
        if not _is_joined(text, cut):
            return cut
    return end


def _last(pattern: re.Pattern[str], text: str, end: int) -> int:
    """Return the last cut of ``pattern`` up to ``end``, 0 if there is none."""
    # One character beyond ``end``: a space there is dropped, so it need not fit.
    cuts = [match.end() for match in pattern.finditer(text[: end + 1])]
    for cut in reversed(cuts):
        following = _VISIBLE.search(text, cut)
        if 0 < cut <= end and not (following and _is_joined(text, following.start())):
            return cut
    return 0


def _is_joined(text: str, index: int) -> bool:
    """Return whether the characters around ``index`` are drawn as one (Unicode annex 29)."""
    if not 0 < index < len(text):
        return False
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
