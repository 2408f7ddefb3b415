"""Text as messengers take it: clean, and in parts that are short enough.

Lengths are UTF-16 units, as the messengers count: an emoji is two or more.
"""

import re
import unicodedata

#: The least limit that can hold any character.
LIMIT_MIN = 2
#: Graphemes longer than this (stacked combining marks) may be cut, in code points.
_GRAPHEME_MAX = 64

_LINE_END = re.compile(r"\r\n?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

#: Where a cut is welcome, best first: it falls at the end of the match. None may open a part that
#: would be shorter than half of what fits, else a short first line would cost a message of its own.
_WELCOME = (
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


def clean(text: str) -> str:
    """Return ``text`` without what cannot be stored or shown. Safe to run twice.

    Lone surrogates become U+FFFD, every line end a newline; other controls but the tab go.
    """
    # On the path of every webhook, for every field; most texts are one printable line.
    if text.isprintable():
        return text
    text = _CONTROL.sub("", _LINE_END.sub("\n", text))
    return _LONE_SURROGATE.sub("\ufffd", text)


def units(text: str) -> int:
    """Return the length of ``text`` in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def split(text: str, limit: int) -> list[str]:
    """Return ``text`` in parts of at most ``limit`` UTF-16 units, at least one.

    It is cut between paragraphs, else lines, sentences, words, and within a word only where there
    is no choice; of what is dropped at a cut nothing is visible. Raise ValueError for a limit
    below 2.
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
    for pattern in _WELCOME:
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
    """Return the last place up to ``end`` that ``pattern`` welcomes, 0 if there is none."""
    # One character beyond ``end``: a space there is dropped, so it need not fit.
    cuts = [match.end() for match in pattern.finditer(text[: end + 1])]
    for cut in reversed(cuts):
        following = _VISIBLE.search(text, cut)
        if 0 < cut <= end and not (following and _is_joined(text, following.start())):
            return cut
    return 0


def _is_joined(text: str, index: int) -> bool:
    """Say whether the characters around ``index`` are drawn as one (Unicode annex 29, in short)."""
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
    """Say whether ``index`` lies inside a flag, which is two regional indicators."""
    if not _FLAG_LETTER.match(text, index):
        return False
    start = index
    while start and _FLAG_LETTER.match(text, start - 1):
        start -= 1
    return (index - start) % 2 == 1
