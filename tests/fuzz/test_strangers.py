"""What strangers may vary without end: tags of our parts, and secrets that they guess."""

import string
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import strategies as st

from batching.model import DeliveryStatus, Tag
from batching.store import Store
from tests.batching.test_other_accounts import ambiguous, dead, kept, sending
from tests.batching.world import World
from tests.fakes import FakeClock
from tests.fuzz.conftest import Fuzz
from web.guesses import DELAY_MS_MAX, FREE, Guesses

#: What may stand in a tag, what is like it in another script, and what ends fields and lines.
CHARACTERS = string.hexdigits + "aA:.-_ b\0\n\u0661\uff11\u0430\ud800"
STATES = ("sent", "delivered", "read", "played", "failed", "SENT", "deleted", "")


@pytest.fixture
def world(store: Store, clock: FakeClock) -> World:
    return World(store, clock)


@st.composite
def edits(draw: st.DrawFn) -> Callable[[str], str]:
    """Draw what changes a text a little: characters replaced, left out, put in, doubled, cut."""
    drawn = [
        (draw(st.floats(0, 1)), draw(st.sampled_from("rdicft")), draw(st.sampled_from(CHARACTERS)))
        for _ in range(draw(st.integers(0, 3)))
    ]

    def edit(text: str) -> str:
        for place, how, character in drawn:
            n = int(place * len(text))
            match how:
                case "r":
                    text = text[:n] + character + text[n + 1 :]
                case "d":
                    text = text[:n] + text[n + 1 :]
                case "i":
                    text = text[:n] + character + text[n:]
                case "c":
                    text = text[:n]
                case "f":
                    text = f"{text}:{text[n:]}"
                case "t":
                    text = text.swapcase()
        return text

    return edit


@pytest.mark.parametrize("account", ["sister", "salon"])
@pytest.mark.parametrize("stage", [sending, ambiguous, dead])
def test_no_tag_but_the_accounts_genuine_one_touches_a_part(
    world: World, fuzz: Fuzz, stage: Callable[[World], Tag], account: str
) -> None:
    """Its account may report under the tag that it was given, or as releases before."""
    tag = stage(world)
    ledger = kept(world)
    place = tag.conversation_id, tag.batch_id, tag.part

    def is_genuine(text: str) -> bool:
        found = Tag.parse(text)
        return (
            found is not None
            and found.seal in {"", tag.seal}
            and str(found) in {text, str(tag)}
            and (found.conversation_id, found.batch_id, found.part) == place
        )

    def check(drawn: tuple[Callable[[str], str], str, str]) -> None:
        edit, state, provider_id = drawn
        text = edit(str(tag))
        if account == "salon" and is_genuine(text):
            return
        world.receive(DeliveryStatus(account, provider_id, state, text))
        assert kept(world) == ledger

    ids = st.sampled_from(("out-1", "out-2", "out-7", "", "\ud800"))
    fuzz.run(st.tuples(edits(), st.sampled_from(STATES), ids), check, share=20)


def test_guesses_wait_longer_each_never_too_long_and_a_pause_is_forgiven(
    store: Store, fuzz: Fuzz
) -> None:
    steps = st.lists(st.tuples(st.integers(0, 30_000), st.sampled_from(("salon", "", "x"))))

    def check(drawn: list[tuple[int, str]]) -> None:
        clock, waits = FakeClock(), list[float]()
        guesses = Guesses(store, "a place", clock=clock, wait=waits.append)
        waited = list[int]()
        for pause_ms, account_id in drawn:
            clock.advance_ms(pause_ms)
            guesses.wrong(account_id)
            waited.append(int(waits.pop() * 1000) if waits else 0)
        assert max(waited, default=0) <= DELAY_MS_MAX
        assert not any(waited[:FREE])
        quick = [pause_ms == 0 for pause_ms, _ in drawn[1:]]
        assert all(
            a <= b for (a, b), at_once in zip(pairwise(waited), quick, strict=True) if at_once
        )

    fuzz.run(steps, check, share=20)
