"""The receptionist without a network: what customers write, and what it answers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.model import Exchange
from llm.prompt import Prompt
from llm.scripted import Scripted, ScriptedModel
from tests.fakes import NOON_MS
from tests.llm.conversations import BURSTS, CONFIRM, HELLO, TALKS

EXAMPLE = Path(__file__).parents[2] / "prompts" / "example.md"
HOUR_MS = 3_600_000
#: The clock of the salon shows Thursday, 15 January 2026, 13:00.
PROMPT = Prompt(business=EXAMPLE.read_text(), language="en", timezone="Europe/Berlin")
SALON = Scripted(prompt=PROMPT)


@pytest.mark.parametrize("burst", BURSTS)
def test_burst_gets_one_answer_to_all_of_it(burst: str) -> None:
    assert SALON.answer([], burst, now_ms=NOON_MS) == BURSTS[burst]


def test_answer_takes_as_long_as_it_is_told_to() -> None:
    waits: list[float] = []
    slow = Scripted(
        prompt=PROMPT, config=ScriptedModel(provider="scripted", pause_ms=1_500), sleep=waits.append
    )

    answer = slow.answer([], "Hi", now_ms=NOON_MS)

    assert (answer, waits) == (SALON.answer([], "Hi", now_ms=NOON_MS), [1.5])


@pytest.mark.parametrize("talk", TALKS)
def test_conversation_goes_on_where_it_was(talk: str) -> None:
    history: list[Exchange] = []
    for turn, _ in TALKS[talk]:
        history.append(Exchange(turn, SALON.answer(history, turn, now_ms=NOON_MS)))

    assert [(said.customer, said.answer) for said in history] == TALKS[talk]


def test_day_named_yesterday_is_still_that_day() -> None:
    """The customer's "tomorrow" grows old; the date in our answer does not."""
    asked = "Hi\ncan I book\nfor tomorrow 15:00?"

    answer = SALON.answer(
        [Exchange(asked, BURSTS[asked])], "manicure", now_ms=NOON_MS + 20 * HOUR_MS
    )

    assert answer == f"Your wish: manicure, today, Friday 16 January at 15:00. {CONFIRM}"


def test_day_whose_hours_are_over_is_refused() -> None:
    answer = SALON.answer([], "can I come today?", now_ms=NOON_MS + 8 * HOUR_MS)

    assert answer == (
        HELLO + "Today, Thursday 15 January, we have already closed. "
        "We are open again tomorrow, Friday 16 January 10:00–20:00. Which other day would suit you?"
    )


@pytest.mark.parametrize(
    ("language", "turn", "answer"),
    [
        ("en", "15:00?", "Hello! Which day would suit you?"),
        ("ru", "15:00?", "Здравствуйте! Какой день вам удобен?"),
        ("ru-RU", "?", "Здравствуйте! Чем могу помочь: цены, часы работы, запись?"),
        ("de", "?", "Hello! How can I help you: prices, opening hours, or an appointment?"),
        ("ru", "Hi", "Hello! How can I help you: prices, opening hours, or an appointment?"),
        ("en", "Привет", "Здравствуйте! Чем могу помочь: цены, часы работы, запись?"),
        (
            "ru",
            "[The customer sent a voice message that cannot be played here]",
            (
                "Здравствуйте! Я не могу здесь посмотреть изображение или прослушать запись. "
                "Напишите, пожалуйста, в двух словах, о чём речь."
            ),
        ),
    ],
)
def test_language_is_the_customers_or_else_the_accounts(
    language: str, turn: str, answer: str
) -> None:
    model = Scripted(prompt=Prompt(business="We cut hair.", language=language, timezone="UTC"))

    assert model.answer([], turn, now_ms=NOON_MS) == answer


def test_language_of_the_conversation_stays_where_a_turn_has_no_words() -> None:
    history = [Exchange("Здравствуйте", "Здравствуйте!")]

    assert SALON.answer(history, "?", now_ms=NOON_MS) == "Я на связи. Чем могу помочь?"


@pytest.mark.parametrize(
    ("turn", "answer"),
    [
        (
            "how much is a haircut?",
            "Hello! I have no price list at hand: a colleague can tell you the prices here.",
        ),
        (
            "when are you open?",
            "Hello! I do not have our opening hours at hand: a colleague can tell you here.",
        ),
        (
            "where are you?",
            "Hello! I do not have our address at hand: a colleague can tell you here.",
        ),
        (
            "can I book for tomorrow 15:00?",
            f"Hello! Your wish: a visit, tomorrow, Friday 16 January at 15:00. {CONFIRM}",
        ),
    ],
)
def test_fact_that_is_missing_is_not_invented(turn: str, answer: str) -> None:
    model = Scripted(prompt=Prompt(business="We cut hair.", language="en", timezone="UTC"))

    assert model.answer([], turn, now_ms=NOON_MS) == answer


@given(
    turn=st.text(max_size=200) | st.lists(st.sampled_from(sorted(BURSTS))).map("\n".join),
    history=st.lists(
        st.builds(Exchange, st.sampled_from(sorted(BURSTS)), st.sampled_from([*BURSTS.values()])),
        max_size=4,
    ),
)
def test_every_turn_has_an_answer_and_always_the_same(turn: str, history: list[Exchange]) -> None:
    answers = {SALON.answer(history, turn, now_ms=NOON_MS) for _ in range(2)}

    assert len(answers) == 1
    assert answers.pop().strip()
