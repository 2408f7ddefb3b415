"""The model without a network: whole conversations, its languages, and what it does not know."""

import re
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llm.scripted
from batching.model import Exchange
from llm.prompt import Prompt
from llm.scripted import Scripted, ScriptedModel
from llm.scripted.language import load
from tests.fakes import NOON_MS

LANGUAGES = Path(llm.scripted.__file__).parent / "languages"
EXAMPLE = (Path(__file__).parents[2] / "prompts" / "example.md").read_text()
HOUR_MS = 3_600_000
CONFIRM = "A colleague checks the calendar and confirms it here; until then it is not booked."
GREETINGS = ("Hello!", "Здравствуйте!", "Guten Tag!", "Вітаємо!")
#: The one way in which an answer may speak of a booking as made.
NOT_YET = re.compile("until then it is not booked|до этого запись не оформлена")
BOOKED = re.compile(r"\bbooked\b|\bзаписан[аы]?\b|оформлена")

#: Turns by the language of the salon and what the conversation is about; ``en.toml`` explains them.
TALKS: dict[tuple[str, str], list[list[Any]]] = {
    (path.stem, about): turns
    for path in (Path(__file__).parent / "transcripts").glob("*.toml")
    for about, turns in tomllib.loads(path.read_text()).items()
}


def salon(business: str = EXAMPLE, language: str = "en", **settings: Any) -> Scripted:
    """Return a model whose clock shows Thursday, 15 January 2026, 13:00 at NOON_MS."""
    prompt = Prompt(business=business, language=language, timezone="Europe/Berlin")
    return Scripted(prompt=prompt, **settings)


SALON = salon()


def faults(answer: str, has: list[str], lacks: Sequence[str] = (), *, is_first: bool) -> list[str]:
    """Return what is wrong with an answer."""
    wrong = [f"lacks {words!r}" for words in has if words not in answer]
    wrong += [f"has {words!r}" for words in lacks if words in answer]
    if "EUR" in answer and "EUR" not in "".join(has):
        wrong.append("has a price")
    if BOOKED.search(NOT_YET.sub("", answer)):
        wrong.append("says that it is booked")
    if not is_first and answer.startswith(GREETINGS):
        wrong.append("greets again")
    return wrong


@pytest.mark.parametrize(("language", "about"), TALKS)
def test_conversation_answers_what_is_asked_and_nothing_else(language: str, about: str) -> None:
    model, history, wrong = salon(language=language), list[Exchange](), []
    for says, *expected in TALKS[language, about]:
        answer = model.answer(history, says, now_ms=NOON_MS).text
        found = faults(answer, *expected, is_first=not history)
        wrong += [(says, answer, found)] if found else []
        history.append(Exchange(says, answer))

    assert wrong == []


def test_answer_takes_as_long_as_the_account_says() -> None:
    waits: list[float] = []
    config = ScriptedModel(provider="scripted", pause_ms=1_500)
    slow = salon(config=config, sleep=waits.append)

    answer = slow.answer([], "Hi", now_ms=NOON_MS).text

    assert (answer, waits) == (SALON.answer([], "Hi", now_ms=NOON_MS).text, [1.5])


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
    history = [Exchange(first, SALON.answer([], first, now_ms=NOON_MS).text)]

    assert SALON.answer(history, turn, now_ms=NOON_MS + hours * HOUR_MS).text == answer


OFFER = "Hello! How can I help you: prices, opening hours, or an appointment?"
OFFER_RU = "Здравствуйте! Чем могу помочь: цены, часы работы, запись?"
UNKNOWN = (
    "Hello! I do not know that for certain and would rather not guess: "
    "a colleague can answer you here."
)
WISH = f"Hello! Your wish: on Friday 16 January, at 15:00.\n{CONFIRM}"


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
        ("en", "how much is a haircut?", UNKNOWN),
        ("en", "when are you open?", UNKNOWN),
        ("en", "where are you?", UNKNOWN),
        ("en", "is there parking?", UNKNOWN),
        ("en", "can I book for tomorrow 15:00?", WISH),
    ],
)
def test_answer_is_in_the_customers_language_and_invents_no_fact(
    language: str, turn: str, answer: str
) -> None:
    """The account's language is for turns that show none; its prompt file says next to nothing."""
    model = salon("We cut hair.", language)

    assert model.answer([], turn, now_ms=NOON_MS).text == answer


def test_what_is_said_of_a_promise_is_no_word_of_the_customers() -> None:
    note = (
        "[The customer was promised a person from the team 3 minutes ago, who was told and has not "
        "written yet. Answer simple questions; leave the rest to that person, and do not hand over "
        "again]\n"
    )
    turn = "How much is a haircut?"

    answers = [SALON.answer([], it, now_ms=NOON_MS) for it in (turn, f"{note}{turn}")]

    assert answers[0] == answers[1]


def test_language_of_the_conversation_stays_where_a_turn_has_no_words() -> None:
    history = [Exchange("Здравствуйте", "Здравствуйте!")]

    assert f"Здравствуйте! {SALON.answer(history, '?', now_ms=NOON_MS).text}" == OFFER_RU


def test_file_alone_adds_a_language(tmp_path: Path) -> None:
    """A minimal one hands over to a colleague; each phrase and each list that it has is used."""
    shutil.copytree(LANGUAGES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "es.toml").write_text(
        'words = "hola tienen un una el la de por favor"\nletters = "áéíñóú"\n'
        '[polite]\nTHANKS = ["gracias", "muchas gracias"]\n'
        '[phrases]\ncolleague = "Un compañero le responderá aquí."\nthanks = "¡De nada!"\n'
    )
    model = salon(languages=tmp_path)

    asked, thanked = (model.answer([], said, now_ms=NOON_MS).text for said in ("Hola", "Gracias"))

    assert asked.endswith("Un compañero le responderá aquí.")
    assert thanked.endswith("¡De nada!")
    assert model.answer([], "How much is a manicure?", now_ms=NOON_MS).text.count("28 EUR") == 1


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


SAID = sorted({turn[0] for talk in TALKS.values() for turn in talk})
ANSWERED = [SALON.answer([], said, now_ms=NOON_MS).text for said in SAID]


@given(
    turn=st.text(max_size=200) | st.lists(st.sampled_from(SAID)).map("\n".join),
    history=st.lists(
        st.builds(Exchange, st.sampled_from(SAID), st.sampled_from(ANSWERED)), max_size=4
    ),
)
def test_every_turn_has_an_answer_and_always_the_same(turn: str, history: list[Exchange]) -> None:
    answers = {SALON.answer(history, turn, now_ms=NOON_MS).text for _ in range(2)}

    assert len(answers) == 1
    assert answers.pop().strip()
