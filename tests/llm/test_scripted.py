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


@pytest.mark.parametrize(
    ("turn", "hours", "answer"),
    [
        # The customer's "tomorrow" grows old; the date in our answer does not.
        ("manicure", 20, f"Your wish: Manicure, on Friday 16 January, at 15:00.\n{CONFIRM}"),
        (
            "can I come today?",
            8,
            (
                "It is too late for that: on Thursday 15 January.\n"
                "Your wish: at 15:00.\nPlease write the service "
                "(Women's haircut, Men's haircut, Hair colouring, Blow-dry, Manicure, Pedicure), "
                "the day that would suit you."
            ),
        ),
    ],
)
def test_wish_is_read_against_the_clock(turn: str, hours: int, answer: str) -> None:
    first = "can I book for tomorrow 15:00?"
    history = [Exchange(first, SALON.answer([], first, now_ms=NOON_MS))]

    assert SALON.answer(history, turn, now_ms=NOON_MS + hours * HOUR_MS) == answer


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

    assert (
        SALON.answer(history, "?", now_ms=NOON_MS) == "Чем могу помочь: цены, часы работы, запись?"
    )


def test_file_alone_adds_a_language(tmp_path: Path) -> None:
    """A minimal one hands over to a colleague; each phrase and each list that it has is used."""
    shutil.copytree(LANGUAGES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "es.toml").write_text(
        'words = "hola tienen un una el la de por favor"\nletters = "áéíñóú"\n'
        '[polite]\nTHANKS = ["gracias", "muchas gracias"]\n'
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
    language = load(LANGUAGES)[code]
    phrases = tomllib.loads((LANGUAGES / f"{code}.toml").read_text())["phrases"]

    held = {name for name, text in phrases.items() if language.says(text, "wish", "ask")}

    assert held == {"wish", "ask", "ask_booking"}


@pytest.mark.parametrize(
    "turn", ["how much is a haircut?", "when are you open?", "where are you?", "is there parking?"]
)
def test_fact_that_is_missing_is_not_invented(turn: str) -> None:
    model = Scripted(prompt=Prompt(business="We cut hair.", language="en", timezone="UTC"))

    assert model.answer([], turn, now_ms=NOON_MS) == (
        "Hello! I do not know that for certain and would rather not guess: "
        "a colleague can answer you here."
    )


def test_business_without_prices_and_hours_takes_a_wish() -> None:
    model = Scripted(prompt=Prompt(business="We cut hair.", language="en", timezone="UTC"))

    answer = model.answer([], "can I book for tomorrow 15:00?", now_ms=NOON_MS)

    assert answer == f"Hello! Your wish: on Friday 16 January, at 15:00.\n{CONFIRM}"


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
