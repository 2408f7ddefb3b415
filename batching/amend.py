"""What a customer's edits and deletions leave of what is kept. Pure: no I/O.

What no model was asked about yet is changed, and the edit or deletion ends with it; in a dead
letter too. What one was asked about is changed in the history, and the edit or deletion stays as a
line of the turn, which tells of it. So does the edit of what is kept nowhere: its words may be all
that came of the message. The deletion of what is kept nowhere ends.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from batching.model import (
    Change,
    Exchange,
    InboundMessage,
    Kept,
    Kind,
    Line,
    decode,
    decode_all,
    encode,
    read_header,
    read_parts,
)

#: Stands for what was deleted.
DELETED = "[The customer deleted this message]"
#: Stands in our answers for the words of such a message, if it has so many characters: a "yes"
#: that was deleted is a part of many sentences.
HIDDEN, HIDDEN_LENGTH_MIN = "[…]", 8
#: A sentence of ours before words of the customer's; no customer's text has such brackets.
_SENTENCE = re.compile(r"\[[^\[\]]*\] ?")


@dataclass(slots=True)
class _Entry:
    """A message in a list. ``place``: its order; ``ended``: why it goes, "" if it stays.

    ``answered``: a model was asked about it, and it is counted so: it never goes.
    """

    raw: str
    place: int
    message: InboundMessage
    ended: str = ""
    answered: bool = False

    def become(self, message: InboundMessage) -> None:
        self.message, self.raw = message, encode(message).decode()

    def lose_words(self) -> None:
        """Become the sentence for what was deleted."""
        gone = replace(self.message, kind=Kind.DELETED, text=DELETED, media=None, amends="")
        self.become(replace(gone, quotes="", quoted=""))


@dataclass(frozen=True, slots=True)
class _Past:
    """An exchange: whose it is, "" for the conversation itself, and in which list."""

    conversation_id: str
    name: str
    raw: str


def amended(kept: Kept, digest_of: Callable[[str], str]) -> Change:
    """Return what edits and deletions change; no lists where nothing does. Safe to repeat.

    ``digest_of`` gives the digest of a message's id, by which the history knows it.
    """
    family, numbers = {**kept.kin, "": kept}, count()
    lists = {c: _entries(it, numbers) for c, it in family.items()}
    entries = [entry for own in lists.values() for each in own.values() for entry in each]
    # First the history: only of what is there a model is told that it was changed.
    past = [it for c, each in family.items() for it in _past(c, each)]
    exchanges = [Exchange.decode(it.raw) for it in past]
    revised = list(exchanges)
    # Oldest first: what was deleted may be in answers that came later.
    place = {c: number for number, c in enumerate(family)}
    order = sorted(
        range(len(past)),
        key=lambda n: (place[past[n].conversation_id], _number(exchanges[n].batch_id)),
    )
    for by in [*lists[""]["f"], *lists[""]["o"]]:
        if by.message.amends and not by.ended:
            found_in = _revise(revised, order, digest_of(by.message.amends), by.message)
            is_told = any(past[n].name == "history" for n in found_in)
            _settle(by, is_changed=_change(entries, by), is_told=is_told)
    for c, each in kept.kin.items():
        for by in [*lists[c]["f"], *lists[c]["o"]]:
            if by.message.amends and not by.ended:
                # What is asked about there cannot change: it is told of there, too.
                is_asked = each.is_asked and by in lists[c]["f"]
                _obey([*lists[""]["f"], *lists[""]["o"]], by, is_asked=is_asked)
    told = [
        it if new is old else replace(it, raw=new.encode())
        for it, old, new in zip(past, exchanges, revised, strict=True)
    ]
    changes = {}
    for c, each in family.items():
        # What is in flight is never empty, nor is what waits elsewhere: see _changed.
        full = ("f", "o") if c else ("f",)
        own = [it for it in told if it.conversation_id == c]
        changes[c] = _changed(each, lists[c], own, full)
    return replace(changes.pop(""), kin=changes)


def revised(
    history: Sequence[Exchange], waiting: Sequence[str], digest_of: Callable[[str], str]
) -> list[Exchange]:
    """Return the history as it is to be once what waits elsewhere has been carried out."""
    found = list(history)
    for by in decode_all("", waiting):
        _revise(found, range(len(found)), digest_of(by.amends), by)
    return found


def _past(conversation_id: str, kept: Kept) -> list[_Past]:
    """Return the exchanges that can be read; others are of no use, and are forgotten."""
    found = [_Past(conversation_id, "history", raw) for raw in kept.history]
    for name, raws in kept.with_header().items():
        exchange = read_header(raws[0]).get("exchange")
        found += [_Past(conversation_id, name, exchange)] if isinstance(exchange, str) else []
    return [it for it in found if Exchange.decode(it.raw).is_readable]


def _changed(
    kept: Kept, lists: Mapping[str, list[_Entry]], told: Sequence[_Past], full: Sequence[str]
) -> Change:
    """Return what the entries and exchanges of a conversation change in what is kept of it.

    Of the lists ``full``, of which none may become empty, the last message stays, without its
    words, to end the batch.
    """
    ended = Counter(entry.ended for each in lists.values() for entry in each)
    for name in full:
        if lists[name] and all(entry.ended for entry in lists[name]):
            last = lists[name][-1]
            ended[last.ended] -= 1
            last.lose_words()
            last.ended = ""
    found = {name: [it.raw for it in each if not it.ended] for name, each in lists.items()}
    found["history"] = [it.raw for it in told if it.name == "history"]
    anew = {it.name: it.raw for it in told}
    for name, (header, *_) in kept.with_header().items():
        is_short = any(Kind.DELETED in {it.ended, it.message.kind} for it in lists[name])
        found[name].insert(0, _header(header, anew.get(name, ""), is_short=is_short))
    changed = {name: it for name, it in found.items() if it != list(kept.lists()[name])}
    damaged = {name for name, each in lists.items() if any(it.message.is_damaged for it in each)}
    damaged |= {"history"} if len(found["history"]) < len(kept.history) else set()
    headers = {name: read_header(raws[0]) for name, raws in kept.with_header().items()}
    damaged |= {name for name, it in headers.items() if _is_damaged(it, has_past=name in anew)}
    return Change(
        changed,
        {why: number for why, number in ended.items() if why and number},
        damaged=sorted(damaged),
    )


def _entries(kept: Kept, numbers: Iterator[int]) -> dict[str, list[_Entry]]:
    """Return the messages by list, in the order in which they came to where they are."""
    bodies = {name: raws[1:] for name, raws in kept.with_header().items()}
    return {
        name: [
            _Entry(raw, next(numbers), decode("", raw), answered=name.startswith("answered:"))
            for raw in raws
        ]
        for name, raws in (*bodies.items(), ("f", kept.flight), ("o", kept.open))
    }


def _is_damaged(header: Mapping[str, Any], *, has_past: bool) -> bool:
    is_lost = bool(header.get("exchange")) and not has_past
    return "damaged" in header or is_lost or read_parts(header.get("reply")) is None


def _header(header: str, exchange: str, *, is_short: bool) -> str:
    """Return a header with what became of its exchange, "" for none that can be read.

    A part of the answer that is changed is hidden whole. So is each part where a message was
    deleted, ``is_short``, and nothing says what they quote.
    """
    known = read_header(header)
    answer = known.get("exchange") or known.get("reply") or known.get("damaged")
    is_unsure = is_short and not exchange and answer
    if not is_unsure and exchange in {"", known.get("exchange")}:
        return header
    words = Exchange.decode(exchange).answer
    parts = [it if it in words else HIDDEN for it in read_parts(known.get("reply")) or ()]
    changed = {"exchange": exchange, "reply": json.dumps(parts, ensure_ascii=False)}
    return json.dumps({**known, **changed}, ensure_ascii=False)


def _settle(by: _Entry, *, is_changed: bool, is_told: bool) -> None:
    """End an edit or a deletion that has been carried out, or let its line tell of it."""
    if by.message.is_deletion and is_told:
        by.become(replace(by.message, amends=""))
    elif by.message.is_deletion or is_changed:
        by.ended = Kind.DELETED if by.message.is_deletion else Kind.EDITED


def _obey(entries: Sequence[_Entry], by: _Entry, *, is_asked: bool) -> None:
    """Carry ``by``, which waits elsewhere, out here: its own turn may come after this question.

    An edit ends by that, unless a model ``is_asked`` about it; first what it changes is to be
    written down.
    """
    before = [(entry.raw, entry.ended) for entry in entries]
    is_found = _change(entries, by)
    is_done = is_found and before == [(entry.raw, entry.ended) for entry in entries]
    if is_done and not is_asked:
        by.ended = Kind.EDITED


def _change(entries: Sequence[_Entry], by: _Entry) -> bool:
    """Carry ``by`` out where its message waits, died or was answered; whether no model knows it.

    A message that was deleted stays so, whatever comes later.
    """
    target, deletes, is_found = by.message.amends, by.message.is_deletion, False
    for entry in entries:
        message = entry.message
        if message.quotes == target and message.quoted:
            entry.become(replace(message, quoted=""))
        is_former = message.amends == target and (deletes or entry.place < by.place)
        if entry is by or entry.ended or not (message.message_id == target or is_former):
            continue
        is_found |= not entry.answered
        if deletes and entry.answered:
            entry.lose_words()
        elif deletes:
            entry.ended = Kind.DELETED
        elif not message.is_deletion:
            entry.become(_edited(message, by.message))
    return is_found


def _edited(message: InboundMessage, edit: InboundMessage) -> InboundMessage:
    """Return ``message`` with the words of its edit."""
    words = edit.text
    if edit.kind is Kind.EDITED and message.kind is not Kind.EDITED:
        words = _SENTENCE.sub("", words, count=1)
        if not words.startswith("[") and (ours := _SENTENCE.match(message.text)):
            # An edit of a caption may come without what it is the caption of.
            words = ours[0].rstrip() + " " + words
    return replace(
        message,
        text=words,
        media=edit.media or message.media,
        quotes=edit.quotes or message.quotes,
        quoted=edit.quoted or message.quoted,
    )


def _number(batch_id: str) -> int:
    """Return the number of a batch, which later ones exceed; 0 where it is not known."""
    return int(batch_id[1:]) if batch_id[1:].isdecimal() else 0


def _revise(
    history: list[Exchange], order: Sequence[int], digest: str, by: InboundMessage
) -> list[int]:
    """Carry ``by`` out in the history, in this order; return where its message is."""
    secret, found = "", list[int]()
    for n in order:
        exchange = history[n]
        former = dict(_words(exchange)).get(digest)
        if former is not None:
            secret = former if by.is_deletion else ""
            found.append(n)
        if any(digest in {line.digest, line.quotes} for line in exchange.lines):
            history[n] = _with_lines(exchange, digest, by)
        if len(secret) >= HIDDEN_LENGTH_MIN and secret in exchange.answer:
            answer = exchange.answer.replace(secret, HIDDEN)
            history[n] = replace(history[n], answer=answer)
    return found


def _with_lines(exchange: Exchange, digest: str, by: InboundMessage) -> Exchange:
    said = [_line(line, text, digest, by) for line, text in exchange.texts()]
    if not said:
        return exchange
    customer = "\n".join(text for _, text in said)
    return replace(exchange, customer=customer, lines=tuple(line for line, _ in said))


def _words(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """Yield the digest and the words of each message, without what it replies to."""
    for line, text in exchange.texts():
        yield line.digest, text.encode()[line.quote_length :].decode(errors="replace")


def _line(line: Line, text: str, digest: str, by: InboundMessage) -> tuple[Line, str]:
    """Return a line of the history after ``by``, which is about the message of ``digest``."""
    if line.digest == digest:
        text = DELETED if by.is_deletion else _SENTENCE.sub("", by.text, count=1)
        return Line("" if by.is_deletion else digest, len(text.encode())), text
    if line.quotes == digest:
        words = text.encode()[line.quote_length :]
        return Line(line.digest, len(words)), words.decode(errors="replace")
    return line, text
