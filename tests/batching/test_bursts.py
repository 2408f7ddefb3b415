"""Masked bursts: what leaves the ledger, and that a replay of it is what happened."""

import json
from random import Random
from typing import Any

import pytest

from batching.bursts import FORM, Burst, Bursts, Fragment, Window, masked, replayed
from batching.model import Kind, Limits, Reception
from batching.window import Rule
from bench.bursts import generated
from channels.inbound import described, kind_of
from tests.batching.world import ANNA, BORIS, LIMITS, World

TEXTS = ("Hi", "can I book for tomorrow?", "at 15:00", "and", "with Maria,", "thanks", "why...")


def exported(world: World) -> Bursts:
    """Return what a file keeps of the world."""
    return Bursts.decode(masked(world.store, {"salon": "en"}, kind_of).encode())


def live(world: World, seed: int, *, messages: int = 40) -> int:
    """Have two customers write at random times; flush every 10 ms; return how many were answered.

    Answers take no time, as the fakes do.
    """
    rng, at_ms = Random(seed), 0  # noqa: S311 - a test, no secret
    for number in range(messages):
        at_ms = rng.choice((0, 500, 3_000, 6_000, 9_000, 13_000, 20_000, 50_000))
        for _ in range(at_ms // 500):
            world.settle(500)
        text = rng.choice(TEXTS)
        customer = rng.choice((ANNA, BORIS))
        kind = Kind.TEXT if number % 5 else rng.choice((Kind.VOICE, Kind.IMAGE, Kind.STICKER))
        words = text if kind is Kind.TEXT else described(kind).text
        world.receive(world.message(words, customer=customer, kind=kind))
    for _ in range(100):
        world.settle(500)
    return len(world.model.questions)


@pytest.mark.parametrize("window", ["fixed", "adaptive"])
@pytest.mark.parametrize("seed", range(3))
def test_replay_of_a_real_run_is_what_happened(world: World, window: str, seed: int) -> None:
    world.reception = Reception(window=window, language="en")  # type: ignore[arg-type]
    # The fakes flush each half second: so must whoever replays.
    world.limits = Limits(idle_ms=10_000, max_wait_ms=30_000, max_messages=4)
    answers = live(world, seed)
    found = exported(world)

    outcome = replayed(found, Window(world.limits, adaptive=window == "adaptive", answer_ms=0))

    happened = {(burst.conversation, it.answer) for burst in found.bursts for it in burst.fragments}
    assert (outcome.calls, outcome.messages) == (answers, 40)
    assert len(happened) == answers
    split = sum(len({it.answer for it in burst.fragments}) > 1 for burst in found.bursts)
    assert outcome.split == split > 0
    assert {len(turn.split("\n")) for turn in world.model.turns} <= {1, 2, 3, 4}


def texts(value: Any) -> set[str]:
    """Return every text in what was JSON, names of fields too."""
    if isinstance(value, str):
        return {value}
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return set().union(*map(texts, inner)) if isinstance(inner, list) else set()


def test_nothing_that_was_written_leaves_with_the_bursts(world: World) -> None:
    world.write("secret words of mine", "and a number 4915112345")
    world.settle()
    world.write("a third", customer=BORIS)

    lines = list(masked(world.store, {"salon": "en"}, kind_of).encode())

    # No text at all beside those of ours: no word, name, number or id can be among them.
    ours = {FORM, "form", "parts_per_answer", "conversation", "messages", *Kind, *Rule}
    assert set().union(*(texts(json.loads(line)) for line in lines)) <= ours
    assert not any(it in "".join(lines) for it in ("4915112345", ANNA, BORIS))
    assert sorted(json.loads(line)["messages"][0][1:] for line in lines[1:]) == [
        [7, "text", "words", 0],
        [20, "text", "words", 1],
    ]


def test_other_accounts_are_left_out(world: World) -> None:
    world.write("hello", account="sister")

    assert masked(world.store, {"salon": "en"}, kind_of).bursts == ()


@pytest.mark.parametrize("kind", [Kind.VOICE, Kind.IMAGE, Kind.STICKER, Kind.BUTTON_REPLY])
def test_kind_is_read_from_the_text_of_the_history(kind: Kind) -> None:
    said = described(kind, "words")

    assert kind_of(said.text) is kind
    assert kind_of(f"[The customer forwarded this] {said.text}") is kind
    assert kind_of("words") is Kind.TEXT


def burst(conversation: int, *at_ms: int, rule: Rule = Rule.WORDS) -> Burst:
    return Burst(conversation, tuple(Fragment(it, 5, Kind.TEXT, rule) for it in at_ms))


def test_burst_that_is_answered_twice_is_split() -> None:
    bursts = Bursts((burst(1, 0, 3_000, 20_000), burst(2, 0, 1_000)), 1.5)

    outcome = replayed(bursts, Window(LIMITS))

    assert (outcome.calls, outcome.saved, outcome.split, outcome.billed) == (3, 2, 1, 4)
    assert (outcome.wait_ms(50), outcome.wait_ms(95)) == (9_000, 9_000)


def test_what_comes_during_an_answer_waits_until_it_has_ended() -> None:
    bursts = Bursts((burst(1, 0, 10_000),))

    outcome = replayed(bursts, Window(LIMITS, answer_ms=20_000))

    assert sorted(outcome.waits_ms) == [9_000, 19_000]


def test_full_batch_is_collected_at_once() -> None:
    outcome = replayed(Bursts((burst(1, *range(10)),)), Window(LIMITS))

    assert outcome.waits_ms == (0,)


def test_closing_alone_costs_no_call() -> None:
    bursts = Bursts((burst(1, 0), burst(1, 100_000, rule=Rule.THANKS)))

    outcome = replayed(bursts, Window(LIMITS, ignores_closing=True))

    assert (outcome.calls, outcome.ignored) == (1, 1)


def test_generated_bursts_are_the_same_for_a_seed_and_survive_a_file() -> None:
    found = generated(3, thoughts=50)

    assert found == generated(3, thoughts=50) == Bursts.decode(found.encode())
    assert len(found.bursts) == 50


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([], 1),
        (["{}"], 1),
        (['{"form": "other", "parts_per_answer": 1}'], 1),
        (['{"form": "bursts-1", "parts_per_answer": NaN}'], 1),
        (['{"form": "bursts-1", "parts_per_answer": 1}', "[]"], 2),
        (['{"form": "bursts-1", "parts_per_answer": 1}', '{"conversation": 1}'], 2),
    ],
)
def test_file_of_another_form_is_refused_with_its_line(lines: list[str], line: int) -> None:
    with pytest.raises(ValueError, match=f"line {line}: must be as"):
        Bursts.decode(lines)
