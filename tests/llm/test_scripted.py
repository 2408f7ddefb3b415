"""The model without a network: its languages, what it lacks, and that it always has an answer."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm.scripted
from batching.model import Exchange
from llm.prompt import Prompt
from llm.scripted import Scripted, ScriptedModel
from llm.scripted.language import load
from tests.fakes import NOON_MS
from tests.llm.transcripts import ENGLISH, RUSSIAN

LANGUAGES = Path(llm.scripted.__file__).parent / "languages"
EXAMPLE = Path(__file__).parents[2] / "prompts" / "example.md"
HOUR_MS = 3_600_000
#: The clock of the salon shows Thursday, 15 January 2026, 13:00.
PROMPT = Prompt(business=EXAMPLE.read_text(), language="en", timezone="Europe/Berlin")
SALON = Scripted(prompt=PROMPT)
CONFIRM = "A colleague checks the calendar and confirms it here; until then it is not booked."


def test_answer_takes_as_long_as_the_account_says() -> None:
    waits: list[float] = []
    slow = Scripted(
        prompt=PROMPT,
        config=ScriptedModel(provider="scripted", pause_ms=1_500),
        sleep=waits.append,
    )

    answer = slow.answer([], "Hi", now_ms=NOON_MS)

    assert (answer, waits) == (SALON.answer([], "Hi", now_ms=NOON_MS), [1.5])


def test_day_named_yesterday_is_still_that_day() -> None:
    """The customer's "tomorrow" grows old; the date in our answer does not."""
    turn = "can I book for tomorrow 15:00?"
    history = [Exchange(turn, SALON.answer([], turn, now_ms=NOON_MS))]

    answer = SALON.answer(history, "manicure", now_ms=NOON_MS + 20 * HOUR_MS)

    assert answer == f"Your wish: manicure, today, Friday 16 January, at 15:00.\n{CONFIRM}"


def test_day_whose_hours_are_over_is_refused() -> None:
    answer = SALON.answer(
        [Exchange("Hi", "Hello!")], "a manicure, can I come today?", now_ms=NOON_MS + 8 * HOUR_MS
    )

    assert answer == (
        "Today, Thursday 15 January, we have already closed. "
        "We are open again tomorrow, Friday 16 January 10:00–20:00.\n"
        "Your wish: manicure.\nWhich day would suit you? What time would suit you?"
    )


OFFER = "Hello! How can I help you: prices, opening hours, or an appointment?"
OFFER_RU = "Здравствуйте! Чем могу помочь: цены, часы работы, запись?"


@pytest.mark.parametrize(
    ("language", "turn", "answer"),
    [
        ("ru-RU", "?", OFFER_RU),
        ("ru", "Hi", OFFER),
        ("en", "Привет", OFFER_RU),
        ("en", "Guten Tag", "Guten Tag! Das beantwortet Ihnen hier gern ein Kollege."),
        ("en", "Чи є у вас місця?", "Вітаємо! На це вам тут відповість колега."),
        ("de", "?", "Guten Tag! Das beantwortet Ihnen hier gern ein Kollege."),
        ("es", "?", OFFER),
        (
            "ru",
            "Quisiera pedir cita",
            (
                "Здравствуйте! Кажется, я вас не понял. Напишите, пожалуйста, иначе, "
                "или вам ответит здесь коллега."
            ),
        ),
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

    assert SALON.answer(history, "?", now_ms=NOON_MS) == "Чем могу помочь?"


def test_file_alone_adds_a_language(tmp_path: Path) -> None:
    """A minimal one hands over to a colleague; each phrase and each list that it has is used."""
    shutil.copytree(LANGUAGES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "es.toml").write_text(
        'words = "hola tienen un una el la de por favor"\nletters = "áéíñóú"\n'
        '[small]\nTHANKS = ["gracias", "muchas gracias"]\n'
        '[phrases]\ncolleague = "Un compañero le responderá aquí."\nthanks = "¡De nada!"\n'
    )
    model = Scripted(prompt=PROMPT, languages=tmp_path)

    asked, thanked = (model.answer([], said, now_ms=NOON_MS) for said in ("Hola", "Gracias"))

    assert asked.endswith("Un compañero le responderá aquí.")
    assert thanked.endswith("¡De nada!")
    assert model.answer([], "How much is a manicure?", now_ms=NOON_MS).count("28 EUR") == 1


@pytest.mark.parametrize("path", sorted(LANGUAGES.glob("*.toml")), ids=lambda path: path.stem)
def test_phrases_have_the_names_and_the_places_of_the_english_ones(path: Path) -> None:
    def places(file: Path) -> dict[str, list[str]]:
        phrases = tomllib.loads(file.read_text())["phrases"]
        return {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in phrases.items()}

    english, own = places(LANGUAGES / "en.toml"), places(path)

    assert {name: english.get(name) for name in own} == own


@pytest.mark.parametrize("code", ["en", "ru"])
def test_no_phrase_of_a_booking_is_a_part_of_another_phrase(code: str) -> None:
    """An answer is known by them, so that the next burst goes on with it."""
    languages = load(LANGUAGES)
    phrases = tomllib.loads((LANGUAGES / f"{code}.toml").read_text())["phrases"]
    marks = [name for name in phrases if name.startswith(("ask_", "wish"))]

    held = {
        name: [mark for mark in marks if languages.says(text, mark)]
        for name, text in phrases.items()
    }

    assert {name: found for name, found in held.items() if found} == {
        mark: [other for other in marks if mark.startswith(other)] for mark in marks
    }


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
            "is there parking?",
            (
                "Hello! I do not know that for certain and would rather not guess: "
                "a colleague can answer you here."
            ),
        ),
        (
            "can I book for tomorrow 15:00?",
            f"Hello! Your wish: tomorrow, Friday 16 January, at 15:00.\n{CONFIRM}",
        ),
    ],
)
def test_fact_that_is_missing_is_not_invented(turn: str, answer: str) -> None:
    model = Scripted(prompt=Prompt(business="We cut hair.", language="en", timezone="UTC"))

    assert model.answer([], turn, now_ms=NOON_MS) == answer


SAID = sorted(
    {turn.says for talks in (ENGLISH, RUSSIAN) for talk in talks.values() for turn in talk}
)
ANSWERED = [SALON.answer([], said, now_ms=NOON_MS) for said in SAID]


@given(
    turn=st.text(max_size=200) | st.lists(st.sampled_from(SAID)).map("\n".join),
    history=st.lists(
        st.builds(Exchange, st.sampled_from(SAID), st.sampled_from(ANSWERED)), max_size=4
    ),
)
def test_every_turn_has_an_answer_and_always_the_same(turn: str, history: list[Exchange]) -> None:
    answers = {SALON.answer(history, turn, now_ms=NOON_MS) for _ in range(2)}

    assert len(answers) == 1
    assert answers.pop().strip()
