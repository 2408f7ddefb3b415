"""Odd bodies made out of recorded ones: changed as values, then as JSON text, then as bytes."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from web.webhooks import BODY_BYTES_MAX

_HOLDERS = (dict, list)
PAYLOADS = Path(__file__).parent.parent / "payloads"
#: In much of what is invented here: it must come back in no error and stand in no log.
MARK = "Qx7Zmark"
#: A name of fields that we do not know: an alert of what is not understood may show it.
NAME = "Qx7Zname"

#: Names whose values become part of an event: half of the changes meet one of these.
READ = frozenset(
    {"id", "from", "to", "body", "text", "message", "caption", "title", "messageId", "customer"}
    | {"message_id", "emoji", "type", "event", "field", "status", "phone_number_id", "timestamp"}
    | {"chatId", "sender", "errors", "code", "response_json", "filename", "t", "messages"}
)
#: A little more than the web reads: changes upon changes grow without end.
BYTES_MAX = BODY_BYTES_MAX + 100_000
#: Depths around what the web reads, and one that no decoder takes.
DEPTHS = (1, 2, 40, 97, 103, 400)
#: A body has some 50 places; of a stretched one the first are like the rest.
PLACES_MAX = 150
#: Lengths around what is kept: of an id, an address, a text.
LENGTHS = (0, 2, 129, 513, 4_097, 70_000)


def _recorded(*folders: str) -> list[Any]:
    paths = [path for folder in folders for path in sorted((PAYLOADS / folder).glob("*.json"))]
    return [json.loads(path.read_text()) for path in paths]


def _words(value: object) -> set[str]:
    match value:
        case dict():
            return set(value) | {word for part in value.values() for word in _words(part)}
        case list():
            return {word for part in value for word in _words(part)}
        case str() if len(value) <= 40:
            return {value}
    return set()


#: By channel, what its providers were seen to post; the small channels' forms are their own.
RECORDED: dict[str, list[Any]] = {
    "whatsapp_cloud": _recorded("whatsapp_cloud"),
    "venom": _recorded("venom", "gateway"),
    "simulator": [{"customer": "79990000001", "message_id": "m-1", "text": f"Hello {MARK}"}],
    "canary": [{"message_id": f"c-{MARK}"}],
}
#: Every name and short word of the recorded bodies: a right thing in the wrong place is odd too.
VOCABULARY = sorted(set().union(*(_words(bodies) for bodies in RECORDED.values())))

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 131_047, 2**53 + 1, 10**18, -(10**40), 1.5, -0.0),
    *(float("nan"), float("inf"), float("-inf"), 1e308, 1_768_478_400, 1_768_478_400_000),
    *("", " ", "\t\n", "0", "-1", "1e999", "true", "null", "NaN", "１７", "0x10"),
    *("\x00", "a\x00b", "\x7f\x1b[31m", "\ud800", "\udfff\ud83d", "\ufeff", "\u202e\u2066"),
    *("é", "Привет", "👩\u200d👩\u200d👧", "🇩", "e\u0301" * 300, "\U000e0001\U000e0041"),
    *(MARK, f"{MARK}\ud800", f"<b>{MARK}</b>", f"{{{MARK}}}", f"%s%d {MARK}", f"${{{MARK}}}"),
    *("79990000001", "100000000000001", "100000000000002", "999", "RU.1000000000000001"),
    *("1@lid", "1@g.us", "status@broadcast", "79990000001@c.us", "false_1@c.us_3A", "@", "_"),
    *("aa:c_0:b1:0", "aa:::", "aa:c_0:b1:99999", "{aa1.0}:due", "*", "../..", "a\r\nb"),
    *([], {}, [[]], [{}], [None], {"": ""}, {NAME: MARK}, {"id": {"_serialized": MARK}}),
]


@dataclass(frozen=True, slots=True)
class Body:
    """What is posted. ``intact``: its text is the plain JSON of ``value``."""

    raw: bytes
    value: Any
    intact: bool


def _places(body: Any) -> list[tuple[Any, Any]]:
    """Return where things stand in ``body``, outermost first: what holds them, and under what."""
    found: list[tuple[Any, Any]] = []
    level = [body]
    for holder in level:
        if len(found) > PLACES_MAX:
            break
        names = range(len(holder)) if isinstance(holder, list) else list(holder)
        found += [(holder, name) for name in names[:PLACES_MAX]]
        level += [holder[name] for name in names[:PLACES_MAX] if holder[name].__class__ in _HOLDERS]
    return found


def _one_of(draw: st.DrawFn, found: Any) -> Any:
    return found[draw(st.integers(0, len(found) - 1))]


def _nested(value: Any, depth: int, *, as_list: bool) -> Any:
    for _ in range(depth):
        value = [value] if as_list else {"message": value}
    return value


def _retyped(value: Any) -> Any:
    match value:
        case dict():
            return list(value.values())
        case list():
            return {str(n): part for n, part in enumerate(value)}
        case str():
            is_number = value.isascii() and value.isdigit() and len(value) < LENGTHS[-2]
            return int(value) if is_number else [*value[:5]]
    return str(value)


def _told_apart(item: Any, n: int) -> Any:
    """Return an item under an id of its own: many of one id are one message."""
    ids = {name: f"{n}" for name in ("id", "messageId") if isinstance(item, dict) and name in item}
    return item | ids if ids else item


def _stretched(draw: st.DrawFn, value: Any) -> Any:
    length = _one_of(draw, LENGTHS)
    match value:
        case str():
            return ((value or MARK) * (length // len(value or MARK) + 1))[:length]
        case list() if value:
            many = (value * length)[: min(length, 600)]
            return [_told_apart(item, n) for n, item in enumerate(many)]
        case dict():
            return value | {f"{NAME}{n}": n for n in range(min(length, 600))}
    return value


def _change(draw: st.DrawFn, body: Any, channel: str) -> Any:
    """Return ``body`` with one thing in it gone, doubled, moved or replaced."""
    found = _places(body) if body.__class__ in _HOLDERS else []
    if not found:
        return copy.deepcopy(_one_of(draw, ODD))
    read = [place for place in found if place[1] in READ]
    is_aimed = draw(st.booleans())
    holder, last = _one_of(draw, read if read and is_aimed else found)
    value = holder[last]
    kind = draw(st.integers(0, 9))
    if kind == 0 and isinstance(holder, dict):
        del holder[last]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(last, copy.deepcopy(value))
    elif kind == 1:
        holder[_one_of(draw, VOCABULARY)] = holder.pop(last)
    elif kind == 2:
        holder[last] = _retyped(value)
    elif kind == 3:
        holder[last] = _nested(value, _one_of(draw, DEPTHS), as_list=draw(st.booleans()))
    elif kind == 4:
        holder[last] = _stretched(draw, value)
    elif kind == 5:
        holder[last] = _one_of(draw, VOCABULARY)
    elif kind == 6:
        # From anywhere in another body: the right thing in the wrong place.
        other_holder, name = _one_of(draw, _places(_one_of(draw, RECORDED[channel])))
        holder[last] = copy.deepcopy(other_holder[name])
    else:
        holder[last] = copy.deepcopy(_one_of(draw, ODD))
    return body


def _encoded(encoding: str) -> Callable[[st.DrawFn, bytes], bytes]:
    return lambda _draw, raw: raw.decode().encode(encoding, "replace")


def _replaced(old: bytes, new: bytes) -> Callable[[st.DrawFn, bytes], bytes]:
    def replace_one(draw: st.DrawFn, raw: bytes) -> bytes:
        before = raw.split(old)
        at = draw(st.integers(1, max(1, len(before) - 1)))
        return old.join(before[:at]) + (new if at < len(before) else b"") + old.join(before[at:])

    return replace_one


def _cut(draw: st.DrawFn, raw: bytes) -> bytes:
    return raw[: draw(st.integers(0, len(raw)))]


def _with_noise(draw: st.DrawFn, raw: bytes) -> bytes:
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.binary(max_size=4)) + raw[at + draw(st.integers(0, 3)) :]


def _with_a_twin(draw: st.DrawFn, raw: bytes) -> bytes:
    """Return an object in which a name stands twice; the later one counts for Python."""
    name = _one_of(draw, VOCABULARY)
    twin = f"{json.dumps(name)}: {json.dumps(_one_of(draw, ODD))}".encode()
    return raw.replace(b"{", b"{" + twin + b", ", 1) if raw != b"{}" else raw


#: What may be done to the text of a body.
_ON_BYTES: list[Callable[[st.DrawFn, bytes], bytes]] = [
    _cut,
    _with_noise,
    _with_noise,
    _with_a_twin,
    _with_a_twin,
    *map(_encoded, ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1251", "utf-7")),
    _replaced(b'"', b"'"),
    _replaced(b": ", b": 1"),
    _replaced(b": ", b": " + b"9" * 5_000 + b", "),
    _replaced(b": ", b": " + b"[" * 5_000 + b"]" * 5_000 + b', "": '),
    _replaced(b": ", b": 1e400, " + b'"x": -'),
    _replaced(b'": "', b'": "\\ud800\\u0000'),
    _replaced(b'": "', b'": "\xff\xfe'),
    _replaced(b'": "', b'": "\xed\xa0\x80'),
    _replaced(b'": "', b'": "\x00'),
    lambda _draw, raw: raw + raw,
    lambda _draw, raw: b"\n\t " + raw + b"\r\n" * 2_000,
    lambda _draw, raw: b"null" if len(raw) % 2 else b"",
    lambda draw, _raw: draw(st.binary(max_size=200)),
]


@st.composite
def bodies(draw: st.DrawFn, channel: str, neighbour: Callable[[Any], Any] | None = None) -> Body:
    """Draw a body for ``channel``; ``neighbour`` adds something good to the changed value."""
    value = copy.deepcopy(_one_of(draw, RECORDED[channel]))
    for _ in range(draw(st.integers(0, 4))):
        value = _change(draw, value, channel)
    if neighbour is not None:
        value = neighbour(value)
    raw = json.dumps(value).encode()
    if len(raw) > BYTES_MAX:
        return Body(raw[:BYTES_MAX], value, intact=False)
    if draw(st.integers(0, 3)):
        return Body(raw, value, intact=True)
    for _ in range(draw(st.integers(1, 2))):
        try:
            raw = _one_of(draw, _ON_BYTES)(draw, raw)
        except UnicodeDecodeError:
            break
    return Body(raw, value, intact=False)


#: Any JSON value, for the parsers themselves.
ANYTHING = st.recursive(
    st.sampled_from(ODD) | st.sampled_from(VOCABULARY),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(VOCABULARY) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=40,
)
