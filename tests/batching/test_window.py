"""The adaptive window: what each message looks like, how long it waits, and who is not answered."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.inspect import counters, trace
from batching.model import Kind, Limits, Reception, Status
from batching.window import LANGUAGES, PERCENT, Rule, due_ms, idle_ms, pause_after, rule_of
from runtime.steps import sentence
from tests.batching.world import LIMITS, World

ADAPTIVE = Reception(window="adaptive", language="en")
RLM, EMOJI, HEART = "\u200f", "\U0001f60a", "\u2764\ufe0f"
THUMB = "\U0001f44d\U0001f3fd"


@pytest.mark.parametrize(
    ("language", "text", "rule"),
    [
        ("en", "Can I book for tomorrow?", Rule.QUESTION),
        ("en", f"Can I book? {EMOJI}", Rule.QUESTION),
        ("en", "Can I book?))", Rule.QUESTION),
        ("ru", "можно завтра в 15:00?", Rule.QUESTION),
        ("ar", f"هل يمكنني الحجز غدا؟{RLM}", Rule.QUESTION),
        ("he", f"{RLM}אפשר לקבוע תור?", Rule.QUESTION),
        ("zh", "可以预约吗？", Rule.QUESTION),
        ("el", "Μπορώ να κλείσω ραντεβού;", Rule.QUESTION),
        ("hy", "կարո՞ղ եմ", Rule.WORDS),
        ("en", "I would like a haircut.", Rule.SENTENCE),
        ("en", "a haircut tomorrow", Rule.WORDS),
        ("en", "", Rule.WORDS),
        ("en", "Hi", Rule.GREETING),
        ("en", f"Hello! Good morning {EMOJI}", Rule.GREETING),
        ("ru", "Здравствуйте!", Rule.GREETING),
        ("es-MX", "Hola, buenas tardes", Rule.GREETING),
        ("pt-BR", "Oi, tudo bem?", Rule.QUESTION),
        ("en", "hi, can I book", Rule.WORDS),
        ("tr", "merhaba", Rule.WORDS),
        ("tr", "merhaba,", Rule.COMMA),
        ("en", "I need a haircut,", Rule.COMMA),
        ("ar", "مرحبا،", Rule.COMMA),
        ("en", "My address is:", Rule.DASH),
        ("en", "I was thinking...", Rule.DOTS),
        ("en", "I need a haircut and", Rule.JOIN),
        ("ru", "хочу записаться на", Rule.JOIN),
        ("de", "ich komme und", Rule.JOIN),
        ("tr", "saç kesimi and", Rule.WORDS),
        ("en", "Thanks!", Rule.THANKS),
        ("en", f"Thank you so much {EMOJI}", Rule.THANKS),
        ("en", "Ok, thank you", Rule.REPLY),
        ("en", "No thanks!", Rule.REPLY),
        ("ru", "Да, спасибо", Rule.REPLY),
        ("en", "I must cancel " + 200 * EMOJI, Rule.WORDS),
        ("en", "I must cancel " + 34 * " thanks", Rule.WORDS),
        ("ru", "Спасибо большое)))", Rule.THANKS),
        ("en", "thanks, and can I pay by card?", Rule.QUESTION),
        ("en", EMOJI, Rule.EMOJI),
        ("en", f"{HEART}{HEART}", Rule.EMOJI),
        ("ru", ")))", Rule.EMOJI),
        ("en", ":-)", Rule.EMOJI),
        ("en", THUMB, Rule.REPLY),
        ("en", "ok", Rule.REPLY),
        ("ru", "да, хорошо", Rule.REPLY),
        ("en", "see you tomorrow :)", Rule.WORDS),
        ("en", "when? :D", Rule.QUESTION),
        ("en", "at home (the red house)", Rule.WORDS),
        ("en", "15", Rule.WORDS),
        ("en", "?", Rule.QUESTION),
    ],
)
def test_text_looks_like(language: str, text: str, rule: Rule) -> None:
    message = World.message_of(text)

    assert rule_of(message, language) is rule


@pytest.mark.parametrize(
    ("kind", "text", "rule"),
    [
        (Kind.STICKER, "[The customer sent a sticker]", Rule.STICKER),
        (Kind.VOICE, "[The customer sent a voice message]", Rule.VOICE),
        (Kind.IMAGE, "[The customer sent a picture]", Rule.MEDIA),
        (Kind.IMAGE, "[The customer sent a picture] can you do this?", Rule.QUESTION),
        (Kind.DOCUMENT, "[The customer sent a document] list.pdf", Rule.WORDS),
        (Kind.BUTTON_REPLY, "[The customer pressed a button] Yes", Rule.CHOICE),
        (Kind.TEXT, "[The customer forwarded this] Thanks", Rule.THANKS),
    ],
)
def test_other_kinds_look_like(kind: Kind, text: str, rule: Rule) -> None:
    assert rule_of(World.message_of(text, kind=kind), "en") is rule


def test_edit_waits_as_long_as_the_limits_say() -> None:
    assert rule_of(World.message_of("and", amends="id-1"), "en") is Rule.WORDS


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_knows_its_words(language: str) -> None:
    words = LANGUAGES[language]

    for phrases, rules in (
        (words.greetings, {Rule.GREETING}),
        (words.thanks, {Rule.THANKS}),
        (words.replies, {Rule.REPLY}),
    ):
        found = {rule_of(World.message_of(it), language) for it in phrases.split(",")}
        assert found == rules
    assert {rule_of(World.message_of(f"1 {it}"), language) for it in words.joins.split(",")} == {
        Rule.JOIN
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_phrase_is_others_in_a_row(language: str) -> None:
    """A text of such phrases could be read in very many ways, and all would be tried."""
    words = LANGUAGES[language]

    for phrases in ((words.greetings,), (words.thanks, words.replies)):
        known = {it for each in phrases for it in each.split(",")}
        parted = {
            phrase
            for phrase in known
            for cut in range(1, len(phrase.split()))
            if {" ".join(phrase.split()[:cut]), " ".join(phrase.split()[cut:])} <= known
        }
        assert parted == set()


LIMITS_OF = st.builds(
    Limits,
    idle_ms=st.integers(1, 60_000),
    max_messages=st.integers(1, 20),
    max_wait_ms=st.integers(1, 120_000),
)


@given(text=st.text(max_size=600), language=st.sampled_from([*LANGUAGES, "tr", ""]), of=LIMITS_OF)
def test_any_text_waits_between_now_and_the_longest_wait(
    text: str, language: str, of: Limits
) -> None:
    pause = pause_after(World.message_of(text), language, of)

    ms, rule = pause.split(" ")
    assert 0 <= int(ms) <= of.max_wait_ms
    assert rule in set(Rule)


@given(of=LIMITS_OF, rule=st.sampled_from(Rule), gaps=st.lists(st.integers(0, 50_000), max_size=12))
def test_batch_is_due_neither_before_its_last_message_nor_after_its_longest_wait(
    of: Limits, rule: Rule, gaps: list[int]
) -> None:
    first_ms = 1_000_000
    last_ms = min(first_ms + sum(gaps), first_ms + of.max_wait_ms)

    due = due_ms(of, len(gaps) + 1, first_ms, last_ms, idle_ms(rule, of))

    assert last_ms <= due <= first_ms + of.max_wait_ms


@pytest.mark.parametrize(
    ("text", "gap_ms", "count"),
    list(product(["Hi", "when?", "x", "and"], [0, 8_000], [1, 3, 10])),
)
def test_script_and_rules_agree_when_a_batch_is_due(
    world: World, text: str, gap_ms: int, count: int
) -> None:
    world.reception = ADAPTIVE
    first_ms = world.clock()
    for number in range(count):
        world.wait(gap_ms if number else 0)
        (receipt,) = world.write(text)

    wait_ms = int(pause_after(world.message(text), "en", LIMITS).split(" ")[0])
    assert receipt.due_ms == due_ms(LIMITS, count, first_ms, world.clock(), wait_ms)


def test_fixed_window_waits_for_every_text_alike(world: World) -> None:
    dues = [world.write(text)[0].due_ms - world.clock() for text in ("Hi", "when?", "and")]

    assert dues == [9_000] * 3


def test_batch_waits_by_its_last_message(world: World) -> None:
    world.reception = ADAPTIVE

    dues = [world.write(text)[0].due_ms - world.clock() for text in ("Hi", "when?", "and", "x")]

    assert dues == [90 * PERCENT.get(it, 100) for it in (
        Rule.GREETING, Rule.QUESTION, Rule.JOIN, Rule.WORDS)]  # fmt: skip


def test_what_waited_behind_an_answer_waits_by_its_last_message(world: World) -> None:
    world.reception = ADAPTIVE
    wake_up = world.to_generating("first")
    world.write("Hi")
    last_ms = world.clock()

    world.answer([wake_up])

    peek = world.store.peek(world.anna)
    assert peek.due_ms == last_ms + idle_ms(Rule.GREETING, LIMITS)


def test_pause_ends_with_its_batch(world: World) -> None:
    world.reception = ADAPTIVE
    world.write("Hi")
    world.settle(20_000)
    world.reception = Reception()

    (receipt,) = world.write("Hi")

    assert receipt.due_ms == world.clock() + 9_000


def test_quiet_is_counted_from_the_last_message(world: World) -> None:
    world.write("first")
    world.wait(3_000)
    world.write("second")
    world.wait(9_000)

    (collected,) = world.store.collect(world.store.shard_of(world.anna), limit=10)

    assert (collected.waited_ms, collected.quiet_ms) == (12_000, 9_000)


def test_trace_says_which_rule_a_batch_waited_by(world: World) -> None:
    world.reception = ADAPTIVE
    world.write("Hi", "when?")
    world.settle(9_000)

    steps = [sentence(it) for it in trace(world.store, world.anna).steps if it.verb == "collect"]
    assert steps == [
        "collected, because the customer was quiet (idle) for 4500 ms after a question"
    ]


def test_closing_thanks_alone_is_counted_and_not_answered(world: World) -> None:
    world.reception = Reception(closing="ignore", language="en")

    receipts = world.write("thanks!", EMOJI, "thank you, bye")

    (counted,) = counters(world.store)
    assert {it.status for it in receipts} == {Status.SUPPRESSED}
    assert (counted.accepted, counted.named["suppressed:closing"]) == (3, 3)
    assert counted.holds


def test_thanks_that_come_with_more_are_answered_with_it(world: World) -> None:
    world.reception = Reception(closing="ignore", language="en")

    receipts = world.write("can I book?", "thanks")
    world.settle()

    assert [it.status for it in receipts] == [Status.ACCEPTED] * 2
    assert world.model.turns == ["can I book?\nthanks"]


@pytest.mark.parametrize(
    "text", ["ok", "yes", THUMB, "yes, thanks", "ok thanks", "no thanks?", "thanks, but when"]
)
def test_what_may_answer_us_is_never_ignored(world: World, text: str) -> None:
    world.reception = Reception(closing="ignore", language="en")

    assert [it.status for it in world.write(text)] == [Status.ACCEPTED]


def test_thanks_below_a_picture_are_not_ignored(world: World) -> None:
    world.reception = Reception(closing="ignore", language="en")
    picture = world.message("[The customer sent a picture] thanks!", kind=Kind.IMAGE)

    assert [it.status for it in world.receive(picture)] == [Status.ACCEPTED]


def test_closing_is_answered_by_default(world: World) -> None:
    assert [it.status for it in world.write("thanks", EMOJI)] == [Status.ACCEPTED] * 2
