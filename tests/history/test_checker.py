"""Planted histories: the checker must see what is wrong, and nothing where nothing is."""

import pytest

from tests.history.checker import check
from tests.history.events import (
    Accepted,
    Alerted,
    Amended,
    Arrived,
    Asked,
    Awaited,
    Begun,
    Conflicted,
    Delivered,
    Died,
    Discarded,
    Doubted,
    Erased,
    Failed,
    HandedBack,
    Happening,
    Joined,
    Leaving,
    Offered,
    Paused,
    Renumbered,
    Replayed,
    Replied,
    Taken,
    TakenOver,
    digest,
)

SALON, ANNA, BORIS = "salon", "anna", "boris"


def wrote(*words: str, customer: str = ANNA, account: str = SALON) -> list[Happening]:
    """Return the words, offered and accepted one after the other."""
    return [
        event
        for word in words
        for event in (Offered(0, account, customer, word), Accepted(0, word))
    ]


def asked(call: int, *words: str, worker: str = "w1") -> list[Happening]:
    return [Asked(0, call, words, SALON, worker)]


def replied(call: int, *parts: str) -> list[Happening]:
    return [Replied(0, call, parts)]


def took(text: str, batch: str = "c:b1", part: int = 0, customer: str = ANNA) -> list[Happening]:
    return [Taken(0, SALON, customer, f"aa:{batch}:{part}", text, "w1")]


def died(batch: str, *words: str) -> list[Happening]:
    return [Died(0, batch, words), Alerted(0, "poison", batch)]


def answered(call: int, *words: str, batch: str = "c:b1", customer: str = ANNA) -> list[Happening]:
    """Return a whole answer without a fault."""
    text = " ".join((f"r{call}", *words))
    return [*asked(call, *words), *replied(call, text), *took(text, batch, customer=customer)]


PHONE, OTHER, NEW = "79990000001", "RU.1", "79990000009"


def under(address: str, *words: str, sent_ms: int = 0) -> list[Happening]:
    """Return the words as written under one of Anna's ids."""
    return [
        event
        for word in words
        for event in (
            Offered(0, SALON, ANNA, word, sent_ms=sent_ms, address=address), Accepted(0, word)
        )
    ]  # fmt: skip


def sent_to(address: str, word: str, worker: str = "w1", batch: str = "c:b1") -> list[Happening]:
    """Return a whole answer that goes to one of Anna's ids."""
    text = f"r1 {word}"
    taken = Taken(0, SALON, ANNA, f"aa:{batch}:0", text, worker, address)
    return [*asked(1, word, worker="g1"), *replied(1, text), taken]


def given(call: int, word: str, *past: str) -> list[Happening]:
    """Return a question with a past, by a worker that begins then, and its answer."""
    worker, text = f"g{call}", f"r{call} {word}"
    question = Asked(0, call, (word,), SALON, worker, past, past)
    return [Begun(0, worker), question, *replied(call, text), *took(text, f"c:b{call}")]


JOINED: list[Happening] = [Joined(0, SALON, ANNA, (PHONE, OTHER))]
GIVEN_UP: list[Happening] = [
    Joined(0, SALON, ANNA, (PHONE, NEW)), Renumbered(0, SALON, ANNA, PHONE, NEW, 5),
]  # fmt: skip
AT_ONCE = [*asked(1, "m1"), *asked(2, "m2", worker="w2"), *replied(1), *replied(2)]
AT_ONCE += [*died("c:b1", "m1"), *died("d:b2", "m2")]

M1 = wrote("m1")
GENERATED = [*M1, *asked(1, "m1"), *replied(1, "r1 m1", "r2 m1")]
PROMISED = [*M1, *asked(1, "m1", worker="g1"), Replied(0, 1, ("r1 m1",), hands_over=True)]

GOOD: dict[str, list[Happening]] = {
    "nothing": [],
    "deleted": [*wrote("m1", "m2"), Amended(0, "m1"), *answered(1, "m2")],
    "deleted after the answer": [*M1, *answered(1, "m1"), Amended(0, "m1")],
    "deleted while who asks stood still": [
        *M1, Paused(0, "w1"), Amended(0, "m1"), Paused(0, "w1"), *asked(1, "m1"), *replied(1),
    ],
    "deleted while its customer was erased, then edited by what came late": [
        *M1, Begun(0, "web-1"), Erased(0, SALON, ANNA),
        Amended(0, "m1", worker="web-1"), *wrote("e1"), Amended(0, "m1", "e1"), *answered(1, "e1"),
    ],
    "edited": [*M1, *wrote("e1"), Amended(0, "m1", "e1"), *answered(1, "e1")],
    "edited in a dead letter": [*M1, *died("c:b1", "m1"), *wrote("e1"), Amended(0, "m1", "e1")],
    "edited, then deleted": [
        *M1, *wrote("e1"), Amended(0, "m1", "e1"), Amended(0, "m1"),
    ],
    "burst": [*wrote("m1", "m2", "m3"), *answered(1, "m1", "m2", "m3")],
    "two batches": [
        *M1, *answered(1, "m1"), *wrote("m2"), *answered(2, "m2", batch="c:b2"),
    ],
    "refused": [Offered(0, SALON, ANNA, "m1")],
    "offered twice": [*M1, *M1, *answered(1, "m1")],
    "accepted together, in either order": [
        Offered(0, SALON, ANNA, "m1"), Offered(0, SALON, ANNA, "m2"),
        Accepted(0, "m1"), Accepted(0, "m2"), *answered(1, "m2", "m1"),
    ],
    "several parts": [*GENERATED, *took("r1 m1"), *took("r2 m1", part=1)],
    "dead with an alert": [*M1, *died("c:b1", "m1")],
    "discarded": [*M1, *died("c:b1", "m1"), Discarded(0, "c:b1")],
    "died, but a late status says it was sent": [
        *M1, *answered(1, "m1"), *died("c:b1", "m1"),
    ],
    "replayed, later than its successor": [
        *M1, *died("c:b1", "m1"), *wrote("m2"), *answered(1, "m2", batch="c:b2"),
        Replayed(0, "c:b1"), *answered(2, "m1", batch="c:b3"),
    ],
    "replayed in front of its successor": [
        *M1, *wrote("m2"), *died("c:b1", "m2"), Replayed(0, "c:b1"),
        *answered(1, "m2", "m1", batch="c:b2"),
    ],
    "sent in doubt, then replayed": [
        *M1, *answered(1, "m1"), *died("c:b1", "m1"), Replayed(0, "c:b1"),
        *answered(2, "m1", batch="c:b2"),
    ],
    "taken over": [TakenOver(0, SALON, ANNA), *M1],
    "taken over while it waits": [*M1, TakenOver(0, SALON, ANNA)],
    "erased": [*M1, Erased(0, SALON, ANNA)],
    "erased, delivered again, answered": [
        *M1, *answered(1, "m1"), Erased(0, SALON, ANNA), *M1, *answered(2, "m1", batch="c:b2"),
    ],
    "silent": [Offered(0, SALON, ANNA, "m1", silent=True), Accepted(0, "m1")],
    "asked again after a failure": [
        *M1, *asked(1, "m1"), *replied(1), *answered(2, "m1"),
    ],
    "two at once, the first without its lease": [
        *M1, *asked(1, "m1"), Paused(0, "w1"), *answered(2, "m1"), *replied(1, "x m1"),
    ],
    "two at once, the second long replaced": [
        *M1, Paused(0, "w2"), *asked(1, "m1"), *asked(2, "m1", worker="w2"), *replied(1, "r m1"),
        *replied(2, "x m1"), *took("r m1"),
    ],
    "erased, delivered again after its successor": [
        *M1, *answered(1, "m1"), Erased(0, SALON, ANNA), *wrote("m2"), *M1,
        *answered(2, "m2", "m1", batch="c:b2"),
    ],
    "two at once, the first of a customer who was erased meanwhile": [
        *M1, *asked(1, "m1"), Erased(0, SALON, ANNA), *wrote("m2"), *answered(2, "m2"),
        *replied(1, "r m1"),
    ],
    "two at once, for two customers": [
        *M1, *wrote("m2", customer=BORIS), *asked(1, "m1"),
        *answered(2, "m2", batch="d:b2", customer=BORIS), *replied(1, "x m1"), *took("x m1"),
    ],
    "two at once, under ids of which nobody said that they are one customer's": [
        *under(PHONE, "m1"), *under(OTHER, "m2"), *AT_ONCE,
    ],
    "two at once, under ids that were joined while the first waited": [
        *under(PHONE, "m1"), *JOINED, *under(OTHER, "m2"), *AT_ONCE,
    ],
    "two at once, under ids that were joined before their customer was erased": [
        *JOINED, Erased(0, SALON, ANNA), *under(PHONE, "m1"), *under(OTHER, "m2"), *AT_ONCE,
    ],
    "two at once, under ids that were forgotten before what was offered came again": [
        *JOINED, *under(PHONE, "m1")[:1], *under(OTHER, "m2")[:1], Erased(0, SALON, ANNA),
        *under(PHONE, "m1"), *under(OTHER, "m2"), *AT_ONCE,
    ],
    "two at once, under ids that a person was told of": [
        *JOINED, Conflicted(0, SALON, ANNA), *under(PHONE, "m1"), *under(OTHER, "m2"), *AT_ONCE,
    ],
    "deleted under an id that may be somebody else's": [
        *under(PHONE, "m1"), Amended(0, "m1", address=OTHER), *sent_to(PHONE, "m1"),
    ],
    "answered as an edit and in its message's place, which came under another id": [
        *under(OTHER, "m1"), *under(PHONE, "e1"), Amended(0, "m1", "e1", address=PHONE),
        *answered(1, "e1"), *answered(2, "e1", batch="c:b2"),
    ],
    "answered as an edit and in its message's place, whose id was joined with another meanwhile": [
        *under(OTHER, "m1"), Begun(0, "web-1"), Joined(0, SALON, ANNA, (PHONE, OTHER), "web-1"),
        *under(OTHER, "e1"), Amended(0, "m1", "e1", address=OTHER), *answered(1, "e1"),
        *answered(2, "e1", batch="c:b2"),
    ],
    "answered under two ids of which a person was told": [
        Conflicted(0, SALON, ANNA), *under(PHONE, "m1"), *under(OTHER, "m1"), *answered(1, "m1"),
        *answered(2, "m1", batch="c:b2"),
    ],
    "sent to what an id has become": [
        *under(PHONE, "m1", sent_ms=1), *GIVEN_UP, Begun(0, "w1"), *sent_to(NEW, "m1"),
    ],
    "on its way when the id was given up": [
        *under(PHONE, "m1", sent_ms=1), Begun(0, "w1"), *GIVEN_UP, *sent_to(PHONE, "m1"),
    ],
    "written under an id after it was given up": [
        *GIVEN_UP, *under(PHONE, "m1", sent_ms=9), Begun(0, "w1"), *sent_to(PHONE, "m1"),
    ],
    "taken over under an id that may be somebody else's": [
        *under(PHONE, "m1"), TakenOver(0, SALON, ANNA, OTHER), Begun(0, "w1"),
        *sent_to(PHONE, "m1"),
    ],
    "taken over when it was asked already": [
        *under(PHONE, "m1"), Begun(0, "g1"), TakenOver(0, SALON, ANNA, PHONE), *asked(1, "m1"),
        *replied(1),
    ],
    "taken over, handed back, sent": [
        *under(PHONE, "m1"), TakenOver(0, SALON, ANNA, PHONE), HandedBack(0, SALON, ANNA, PHONE),
        Begun(0, "g1"), Begun(0, "w1"), *sent_to(PHONE, "m1"),
    ],
    "the past of an id that was not joined": [
        *under(PHONE, "m0", "m1"), *under(OTHER, "m2"), *given(1, "m0"), *given(2, "m1", "m0"),
        *given(3, "m2"),
    ],
    "the past without what was deleted": [
        *under(PHONE, "m0", "m1", "m2"), *given(1, "m0"), *given(2, "m1", "m0"),
        Amended(0, "m0", address=PHONE), *given(3, "m2", "m1"),
    ],
    "the past that a worker read before it was erased": [
        *under(PHONE, "m0", "m1"), *given(1, "m0"), Begun(0, "g2"), Erased(0, SALON, ANNA),
        Asked(0, 2, ("m1",), SALON, "g2", ("m0",), ("m0",)), *replied(2), *under(PHONE, "m2"),
        *given(3, "m2"),
    ],
    "a person was promised and alerted": [
        *PROMISED, Alerted(0, "handover", "c:b1"), Awaited(0, SALON, ANNA, "", "c:b1"),
        *took("r1 m1"),
    ],
    "a person was promised who was awaited already": [
        *M1, Awaited(0, SALON, ANNA, "", "c:b0"), *PROMISED[len(M1):], *took("r1 m1"),
    ],
    "left to a person who is awaited": [
        Awaited(0, SALON, ANNA, "", "c:b0", silent=True), *M1, Arrived(0, SALON, ANNA),
    ],
    "answered by an account that is not silent while a person is awaited": [
        *M1, Awaited(0, SALON, ANNA, "", "c:b0"), Begun(0, "w1"), *answered(1, "m1"),
    ],
    "answered once the person came": [
        *M1, Awaited(0, SALON, ANNA, "", "c:b0", silent=True), Arrived(0, SALON, ANNA),
        Begun(0, "w1"), *answered(1, "m1"),
    ],
    "the promise itself is sent while a person is awaited": [
        *PROMISED, Alerted(0, "handover", "c:b1"),
        Awaited(0, SALON, ANNA, "", "c:b1", silent=True), Begun(0, "w1"), *took("r1 m1"),
    ],
    "an alert of another kind": [*M1, *answered(1, "m1"), Alerted(0, "undelivered", "c:b1")],
    "failed, of an answer that a person took over halfway": [
        *GENERATED, *took("r1 m1"), TakenOver(0, SALON, ANNA), Failed(0, "aa:c:b1:0"),
        Alerted(0, "undelivered", "c:b1"),
    ],
    "failed, of an answer that a person took over while its first part was sent": [
        *GENERATED, Begun(0, "w1"), TakenOver(0, SALON, ANNA), *took("r1 m1"),
        Failed(0, "aa:c:b1:0"), Alerted(0, "undelivered", "c:b1"),
    ],
    "failed, of an answer that a person took over while all of it was in doubt": [
        *M1, *answered(1, "m1"), Paused(0, "w1"), TakenOver(0, SALON, ANNA),
        Failed(0, "aa:c:b1:0"), Alerted(0, "undelivered", "c:b1"),
    ],
    "sent, not delivered": [
        *M1, *answered(1, "m1"), Failed(0, "aa:c:b1:0"), Died(0, "c:b1", ("m1",)),
        Alerted(0, "undelivered", "c:b1"),
    ],
}  # fmt: skip

BAD: dict[str, tuple[str, list[Happening]]] = {
    "no end": ("lost: m1", M1),
    "one of two parts": ("lost: m1", [*GENERATED, *took("r1 m1")]),
    "replayed and forgotten": (
        "lost: m1", [*M1, *died("c:b1", "m1"), Replayed(0, "c:b1")],
    ),
    "erased before it came": ("lost: m1", [Erased(0, SALON, ANNA), *M1]),
    "another customer was erased": ("lost: m1", [*M1, Erased(0, SALON, BORIS)]),
    "handed back before it came": (
        "lost: m1", [TakenOver(0, SALON, ANNA), HandedBack(0, SALON, ANNA), *M1],
    ),
    "asked after it was deleted": (
        "taken back: call 1 was given m1", [*M1, Amended(0, "m1"), *answered(1, "m1")],
    ),
    "asked after it was deleted, by who stood still before": (
        "taken back: call 1 was given m1",
        [*M1, Paused(0, "w1"), Paused(0, "w1"), Amended(0, "m1"), *answered(1, "m1")],
    ),
    "asked after it was deleted, while another stood still": (
        "taken back: call 1 was given m1",
        [*M1, Paused(0, "w9"), Amended(0, "m1"), Paused(0, "w9"), *answered(1, "m1")],
    ),
    "asked as it was before the edit": (
        "taken back: call 1 was given m1",
        [
            *M1, *wrote("e1"), Amended(0, "m1", "e1"), *answered(1, "m1"),
            *answered(2, "e1", batch="c:b2"),
        ],
    ),
    "its edit asked after it was deleted": (
        "taken back: call 1 was given e1",
        [*M1, *wrote("e1"), Amended(0, "m1", "e1"), Amended(0, "m1"), *answered(1, "e1")],
    ),
    "its edit asked after it was deleted, erased before the deletion": (
        "taken back: call 1 was given e1",
        [
            *M1, Erased(0, SALON, ANNA), Begun(0, "web-1"),
            Amended(0, "m1", worker="web-1"), *wrote("e1"), Amended(0, "m1", "e1"),
            *answered(1, "e1"),
        ],
    ),
    "its edit asked after it was deleted again, which no erasure met": (
        "taken back: call 1 was given e1",
        [
            *M1, Begun(0, "web-1"), Erased(0, SALON, ANNA),
            Amended(0, "m1", worker="web-1"), Begun(0, "web-2"),
            Amended(0, "m1", worker="web-2"), *wrote("e1"), Amended(0, "m1", "e1"),
            *answered(1, "e1"),
        ],
    ),
    "its edit asked after it was deleted while another customer was erased": (
        "taken back: call 1 was given e1",
        [
            *M1, Begun(0, "web-1"), Erased(0, SALON, BORIS),
            Amended(0, "m1", worker="web-1"), *wrote("e1"), Amended(0, "m1", "e1"),
            *answered(1, "e1"),
        ],
    ),
    "an edit has no end": ("lost: e1", [*M1, *wrote("e1"), Amended(0, "m1", "e1")]),
    "dead, no alert": ("unalerted: c:b1", [*M1, Died(0, "c:b1", ("m1",))]),
    "alert of another kind": (
        "unalerted: c:b1", [*M1, Died(0, "c:b1", ("m1",)), Alerted(0, "overdue", "c:b1")],
    ),
    "two alerts": (
        "unalerted: c:b1", [*M1, *died("c:b1", "m1"), Alerted(0, "poison", "c:b1")],
    ),
    "alert of nothing": (
        "alerted for nothing: c:b1", [*M1, *answered(1, "m1"), Alerted(0, "deadline", "c:b1")],
    ),
    "failed, and still answered": (
        "undelivered: c:b1", [*M1, *answered(1, "m1"), Failed(0, "aa:c:b1:0")],
    ),
    "failed, and delivered before": (
        "undelivered: c:b1",
        [*M1, *answered(1, "m1"), Delivered(0, "aa:c:b1:0"), Failed(0, "aa:c:b1:0")],
    ),
    "failed, and taken over when it was answered": (
        "undelivered: c:b1",
        [
            *M1, *answered(1, "m1"), TakenOver(0, SALON, ANNA), Failed(0, "aa:c:b1:0"),
            Alerted(0, "undelivered", "c:b1"),
        ],
    ),
    "failed, and taken over halfway without an alert": (
        "undelivered: c:b1",
        [*GENERATED, *took("r1 m1"), TakenOver(0, SALON, ANNA), Failed(0, "aa:c:b1:0")],
    ),
    "failed, of half an answer to who was taken over before": (
        "undelivered: c:b1",
        [
            *GENERATED, TakenOver(0, SALON, ANNA), HandedBack(0, SALON, ANNA), *took("r1 m1"),
            Failed(0, "aa:c:b1:0"), Alerted(0, "undelivered", "c:b1"),
        ],
    ),
    "in two replies": (
        "answered twice: m1", [*M1, *answered(1, "m1"), *answered(2, "m1", batch="c:b2")],
    ),
    "a part again": (
        "sent twice: aa:c:b1:0", [*M1, *answered(1, "m1"), *took("r1 m1")],
    ),
    "a part again in doubt, where the policy is to alert": (
        "sent twice: aa:c:b1:0",
        [*M1, *answered(1, "m1"), Doubted(0, "aa:c:b1:0"), *took("r1 m1")],
    ),
    "order within a batch": (
        "order in call 1: m2 before m1", [*wrote("m1", "m2"), *answered(1, "m2", "m1")],
    ),
    "order within a batch that a person replayed": (
        "order in call 1: m2 before m1",
        [*wrote("m1", "m2"), *died("c:b1", "m1", "m2"), Replayed(0, "c:b1"),
         *answered(1, "m2", "m1", batch="c:b2")],
    ),
    "order of batches": (
        "order of answers: m2 answered before m1",
        [*wrote("m1", "m2"), *answered(1, "m2"), *answered(2, "m1", batch="c:b2")],
    ),
    "order of parts": (
        "order of parts: c:b1", [*GENERATED, *took("r2 m1", part=1), *took("r1 m1")],
    ),
    "two at once": (
        "two generations at once: 1 and 2",
        [*M1, *asked(1, "m1"), *answered(2, "m1"), *replied(1, "x m1")],
    ),
    "two at once, under ids that were joined": (
        "two generations at once: 1 and 2",
        [*JOINED, *under(PHONE, "m1"), *under(OTHER, "m2"), *AT_ONCE],
    ),
    "answered under two ids that were joined": (
        "answered twice: m1",
        [*JOINED, *under(PHONE, "m1"), *under(OTHER, "m1"), *answered(1, "m1"),
         *answered(2, "m1", batch="c:b2")],
    ),
    "answered as an edit and in its message's place, whose id had been joined before": (
        "answered twice: e1",
        [*JOINED, *under(OTHER, "m1", "e1"), Amended(0, "m1", "e1", address=OTHER),
         *answered(1, "e1"), *answered(2, "e1", batch="c:b2")],
    ),
    "answered as an edit and in its message's place, joined again meanwhile": (
        "answered twice: e1",
        [*JOINED, *under(OTHER, "m1"), Begun(0, "web-1"),
         Joined(0, SALON, ANNA, (PHONE, OTHER), "web-1"), *under(OTHER, "e1"),
         Amended(0, "m1", "e1", address=OTHER), *answered(1, "e1"),
         *answered(2, "e1", batch="c:b2")],
    ),
    "order of answers under ids that were joined": (
        "order of answers: m2 answered before m1",
        [*JOINED, *under(PHONE, "m1"), *under(OTHER, "m2"), *answered(1, "m2"),
         *answered(2, "m1", batch="c:b2")],
    ),
    "asked after it was deleted under another id": (
        "taken back: call 1 was given m1",
        [*under(PHONE, "m1"), *JOINED, Amended(0, "m1", address=OTHER), *sent_to(PHONE, "m1")],
    ),
    "sent to an id under which nobody wrote": (
        "misaddressed: aa:c:b1:0 to 79990000009",
        [*under(PHONE, "m1"), *JOINED, Begun(0, "w1"), *sent_to(NEW, "m1")],
    ),
    "sent to the id that was given up": (
        "misaddressed: aa:c:b1:0 to 79990000001, which was given up",
        [*under(PHONE, "m1", sent_ms=1), *GIVEN_UP, Begun(0, "w1"), *sent_to(PHONE, "m1")],
    ),
    "asked while a person answers": (
        "talked across: call 1 was asked",
        [*under(PHONE, "m1"), TakenOver(0, SALON, ANNA, PHONE), Begun(0, "w1"), *asked(1, "m1"),
         *replied(1)],
    ),
    "asked while a person answers another id": (
        "talked across: call 1 was asked",
        [*under(PHONE, "m1"), *JOINED, TakenOver(0, SALON, ANNA, OTHER), Begun(0, "w1"),
         *asked(1, "m1"), *replied(1)],
    ),
    "sent while a person answers": (
        "talked across: aa:c:b1:0 was sent",
        [*under(PHONE, "m1"), TakenOver(0, SALON, ANNA, PHONE), Begun(0, "w1"),
         *sent_to(PHONE, "m1")],
    ),
    "promised, and nobody was alerted": (
        "promised: c:b1 promises a person, and nobody was alerted", [*PROMISED, *took("r1 m1")],
    ),
    "promised after the person came": (
        "promised: c:b1 promises a person, and nobody was alerted",
        [*M1, Awaited(0, SALON, ANNA, "", "c:b0"), Arrived(0, SALON, ANNA), Begun(0, "g1"),
         *PROMISED[len(M1):], *took("r1 m1")],
    ),
    "handed over twice": (
        "handed over twice: c:b1 has 2 alerts",
        [*PROMISED, *2 * [Alerted(0, "handover", "c:b1")], *took("r1 m1")],
    ),
    "asked while a person is awaited": (
        "talked meanwhile: call 1 was asked",
        [*M1, Awaited(0, SALON, ANNA, "", "c:b0", silent=True), Begun(0, "w1"), *asked(1, "m1"),
         *replied(1)],
    ),
    "sent while a person is awaited": (
        "talked meanwhile: aa:c:b1:0 was sent",
        [*M1, *asked(1, "m1", worker="g1"), *replied(1, "r1 m1"),
         Awaited(0, SALON, ANNA, "", "c:b0", silent=True), Begun(0, "w1"), *took("r1 m1")],
    ),
    "left alone after the person came": (
        "lost: m1",
        [Awaited(0, SALON, ANNA, "", "c:b0", silent=True), Arrived(0, SALON, ANNA), *M1],
    ),
    "a past that was known": (
        "forgotten: m0, which call 3 was not given",
        [*under(PHONE, "m0", "m1"), *JOINED, *under(OTHER, "m2"), *given(1, "m0"),
         *given(2, "m1", "m0"), *given(3, "m2", "m1")],
    ),
    "two at once, another worker stood still": (
        "two generations at once: 1 and 2",
        [*M1, *asked(1, "m1"), Paused(0, "w9"), *answered(2, "m1"), *replied(1, "x m1")],
    ),
    "two at once, the pause was before": (
        "two generations at once: 1 and 2",
        [*M1, Paused(0), *asked(1, "m1"), *answered(2, "m1"), *replied(1, "x m1")],
    ),
    "to somebody else": (
        "misdirected: aa:c:b1:0 to salon/boris", [*M1, *answered(1, "m1", customer=BORIS)],
    ),
    "two customers in one question": (
        "mixed: call 1",
        [*M1, *wrote("m2", customer=BORIS), *asked(1, "m1", "m2"), *replied(1), *died("c:b", "m1"),
         *died("d:b", "m2")],
    ),
    "another customer's past": (
        "mixed: call 1",
        [*wrote("m0", customer=BORIS), *died("d:b0", "m0"), *M1,
         Asked(0, 1, ("m1",), SALON, "w1", ("m0",)), *replied(1, "m1"), *took("m1")],
    ),
    "another account's model": (
        "mixed: call 1",
        [*M1, Asked(0, 1, ("m1",), "sister"), *replied(1, "m1"), *took("m1")],
    ),
    "a word twice in a question": ("given twice: call 1", [*M1, *answered(1, "m1", "m1")]),
    "a word that no customer wrote": (
        "invented: call 1 was given m9", [*M1, *answered(1, "m1", "m9")],
    ),
    "an answer that no model gave": (
        "invented: c:b1", [*M1, *took("r1 m1"), *died("c:b1", "m1")],
    ),
    "parts of two answers": (
        "invented: c:b1",
        [*M1, *asked(1, "m1"), *replied(1, "a m1", "b m1"), *asked(2, "m1"),
         *replied(2, "c m1", "d m1"), *took("a m1"), *took("d m1", part=1), *died("c:b1", "m1")],
    ),
    "without our tag": (
        "invented: r1 m1 has no tag",
        [*M1, *asked(1, "m1"), *replied(1, "r1 m1"), Taken(0, SALON, ANNA, "", "r1 m1"),
         *died("c:b1", "m1")],
    ),
    "a reaction in a question": (
        "asked although silent: m1",
        [Offered(0, SALON, ANNA, "m1", silent=True), Accepted(0, "m1"), *answered(1, "m1")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD.keys())
def test_good_history_passes(history: list[Happening]) -> None:
    assert check(history, max_attempts=2) == []


@pytest.mark.parametrize(("fault", "history"), BAD.values(), ids=BAD.keys())
def test_planted_fault_is_the_one_that_is_found(fault: str, history: list[Happening]) -> None:
    found = check(history)

    assert [line for line in found if not line.startswith(fault)] == []
    assert len(found) == 1


def test_part_in_doubt_may_be_sent_once_more_where_the_policy_says_so() -> None:
    doubt = [*M1, *answered(1, "m1"), Doubted(0, "aa:c:b1:0"), *took("r1 m1")]
    pause = [*M1, *answered(1, "m1"), Paused(0, "w1"), *took("r1 m1")]
    resend = frozenset({SALON})

    assert check(doubt, resend=resend) == []
    assert check(pause, resend=resend) == []
    assert check([*doubt, *took("r1 m1")], resend=resend) == ["sent twice: aa:c:b1:0, 3 times"]
    no_doubt = [*M1, *answered(1, "m1"), *took("r1 m1")]
    assert check(no_doubt, resend=resend) == ["sent twice: aa:c:b1:0, 2 times"]


def test_failure_of_one_copy_is_none_of_an_answer_of_which_another_was_delivered() -> None:
    tag, resend = "aa:c:b1:0", frozenset({SALON})
    twice: list[Happening] = [*M1, *answered(1, "m1"), Doubted(0, tag), *took("r1 m1")]
    failed: list[Happening] = [Failed(0, tag), Alerted(0, "undelivered", "c:b1")]

    assert check([*twice, Delivered(0, tag), *failed], resend=resend) == []
    found = ["undelivered: c:b1 failed, and did not die"]
    assert check([*twice, *failed, Delivered(0, tag)], resend=resend) == found
    assert check([*twice, *failed], resend=resend) == found


LEAVES = Leaving(0, SALON, ANNA, "c:b1", anew=True)
#: What is answered although its customer wrote again, and what was written after all.
STALE = [*wrote("m1", "m2"), *asked(1, "m1"), *replied(1, "r1 m1"), LEAVES, *took("r1 m1")]
REST = [Leaving(0, SALON, ANNA, "c:b2"), *answered(2, "m2", batch="c:b2")]
#: The same, but for why it may be.
NOT_STALE: dict[str, list[Happening]] = {
    "written when it was leaving": [
        *M1, *asked(1, "m1"), *replied(1, "r1 m1"), LEAVES, *wrote("m2"), *took("r1 m1"), *REST,
    ],
    "accepted when it was leaving": [
        *M1, Offered(0, SALON, ANNA, "m2"), *asked(1, "m1"), *replied(1, "r1 m1"), LEAVES,
        Accepted(0, "m2"), *took("r1 m1"), *REST,
    ],
    "answered with it": [
        *wrote("m1", "m2"), *asked(1, "m1", "m2"), *replied(1, "r1 m1 m2"), LEAVES,
        *took("r1 m1 m2"),
    ],
    "another customer's": [
        *M1, *wrote("m2", customer=BORIS), *asked(1, "m1"), *replied(1, "r1 m1"), LEAVES,
        *took("r1 m1"), *answered(2, "m2", batch="d:b2", customer=BORIS),
    ],
    "a promise of a person": [
        *wrote("m1", "m2"), *asked(1, "m1"), Replied(0, 1, ("r1 m1",), hands_over=True),
        Alerted(0, "handover", "c:b1"), LEAVES, *took("r1 m1"), *REST,
    ],
    "too late, or too often": [
        *wrote("m1", "m2"), *asked(1, "m1"), *replied(1, "r1 m1"),
        Leaving(5_000, SALON, ANNA, "c:b1"), *took("r1 m1"), *REST,
    ],
    "deleted": [*STALE, Amended(0, "m2")],
    "replayed": [
        *wrote("m1", "m2"), *died("c:b0", "m2"), Replayed(0, "c:b0"), *STALE[4:], *REST,
    ],
    "of an id that is another conversation's": [
        *under(PHONE, "m1"), *under(OTHER, "m2"), *asked(1, "m1"), *replied(1, "r1 m1"), LEAVES,
        Taken(0, SALON, ANNA, "aa:c:b1:0", "r1 m1", "w1", PHONE), *JOINED, *asked(2, "m2"),
        *replied(2, "r2 m2"), Taken(0, SALON, ANNA, "aa:d:b2:0", "r2 m2", "w1", OTHER),
    ],
}  # fmt: skip


def test_answer_that_leaves_without_what_was_written_before_is_found() -> None:
    assert check([*STALE, *REST]) == ["stale: c:b1 left without m2"]


@pytest.mark.parametrize("history", NOT_STALE.values(), ids=NOT_STALE.keys())
def test_answer_that_may_leave_without_what_was_written_is_none(history: list[Happening]) -> None:
    assert check(history) == []


def test_model_that_is_asked_for_ever_is_found() -> None:
    tries = [event for call in (1, 2, 3) for event in (*asked(call, "m1"), *replied(call))]
    history = [*M1, *tries, *died("c:b1", "m1")]

    assert check(history, max_attempts=3) == []
    assert check(history, max_attempts=2) == ["asked too often: ('m1',), 3 times"]


def test_digest_tells_histories_apart() -> None:
    assert digest(M1) == digest(list(M1))
    assert digest(M1) != digest([*M1, Paused(0)])
