"""How a model hands over: by a tool, by a line, by a promise; and the rules that need no model."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

import httpjson
from batching.errors import UnusableAnswerError
from batching.model import SUMMARY_CHARACTERS_MAX, Answer, Exchange, Handover
from llm.client import cleaned, lacks_tools
from llm.desk import PhraseDesk, default, is_angry, promises
from llm.handover import without_note
from tests.fakes import NOON_MS
from tests.http_server import Reply
from tests.llm.dialects import DIALECTS, TURN, Api, completion, message

CORPUS = tomllib.loads((Path(__file__).parent / "corpus" / "promises.toml").read_text())
GIVEN = {"reason": "booking", "summary": "Friday 15:00", "urgency": "low"}
BOOKING = Handover("booking", "Friday 15:00", "low")
DESK = PhraseDesk(language="en", words=("voucher code",), vip=("+7 999 000-00-01",))
LANGUAGES = ("en", "ru", "uk", "es", "pt", "de", "fr", "kk")


def openai_call(arguments: object, text: object = None, **fields: Any) -> dict[str, Any]:
    """Return an answer of OpenAI's that calls the tool."""
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "hand_over", "arguments": arguments},
    }
    return completion(text, fields.pop("reason", "tool_calls"), tool_calls=[call | fields])


def anthropic_call(given: object, *texts: str, reason: str = "tool_use") -> dict[str, Any]:
    """Return an answer of Anthropic's that calls the tool."""
    blocks = [{"type": "text", "text": text} for text in texts]
    use = {"type": "tool_use", "id": "t1", "name": "hand_over", "input": given}
    return message("", reason, content=[*blocks, use])


CALLS: dict[str, tuple[str, dict[str, Any], Answer]] = {
    "openai": (
        "openai",
        openai_call('{"reason": "booking", "summary": "Friday 15:00", "urgency": "low"}', "Noted."),
        Answer("Noted.", BOOKING),
    ),
    "openai without words": ("openai", openai_call("{}"), Answer("", Handover())),
    "openai, no JSON": (
        "openai",
        openai_call('{"reason": "asked", "summ', "Yes."),
        Answer("Yes.", Handover("unknown", '{"reason": "asked", "summ')),
    ),
    "openai, cut short": (
        "openai",
        openai_call("", "Yes.", reason="length"),
        Answer("Yes.", Handover()),
    ),
    "openai, of another form": (
        "openai",
        completion("Yes.", "tool_calls", tool_calls=["?"]),
        Answer("Yes.", Handover()),
    ),
    "openai, a reason of its own": (
        "openai",
        openai_call({"reason": "angry customer", "summary": 3, "urgency": "!"}, "Yes."),
        Answer("Yes.", Handover("unknown", "angry customer")),
    ),
    "anthropic": ("anthropic", anthropic_call(GIVEN, "Noted."), Answer("Noted.", BOOKING)),
    "anthropic without words": ("anthropic", anthropic_call(GIVEN), Answer("", BOOKING)),
    "anthropic, cut short": (
        "anthropic",
        anthropic_call({}, "Yes.", reason="max_tokens"),
        Answer("Yes.", Handover()),
    ),
    "anthropic, of another form": (
        "anthropic",
        anthropic_call("asked", "Yes."),
        Answer("Yes.", Handover("unknown", "asked")),
    ),
    "a line": (
        "openai",
        completion("Noted.\n[[hand over | booking | low | Friday 15:00]]"),
        Answer("Noted.", BOOKING),
    ),
    "markup in place of words": (
        "openai",
        completion('<tool_call>{"name": "hand_over", "arguments": {}}</tool_call>'),
        Answer("", Handover()),
    ),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("api", DIALECTS, indirect=True)
def test_call_hands_over_whatever_of_it_can_be_read(api: Api, case: str) -> None:
    dialect, said, answer = CALLS[case]
    if api.dialect is not DIALECTS[dialect]:
        return
    api.server.answer(Reply(200, said))

    assert api.model().answer((), TURN, now_ms=NOON_MS) == answer


@pytest.mark.parametrize("api", DIALECTS, indirect=True)
def test_server_without_tools_is_given_a_notation(api: Api) -> None:
    api.server.answer(Reply(200, api.dialect.whole("Yes.\n[[hand over | asked | high | Anna]]")))

    answer = api.model(tools=False).answer((), TURN, now_ms=NOON_MS)

    assert answer == Answer("Yes.", Handover("asked", "Anna", "high"))
    (asked,) = api.server.requests
    assert "tools" not in asked.json
    assert "[[hand over | REASON" in str(asked.json)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'),
        (404, "No endpoints found that support tool use."),
        (400, "Unrecognized request argument supplied: tools"),
    ],
)
@pytest.mark.parametrize("api", ["openai"], indirect=True)
def test_server_that_refuses_tools_is_asked_without_from_then_on(
    api: Api, status: int, said: str
) -> None:
    refused = Reply(status, {"error": {"message": said}})
    api.server.answer(refused, *[Reply(200, completion("Yes."))] * 2)
    model = api.model()

    answers = [model.answer((), TURN, now_ms=NOON_MS).text for _ in range(2)]

    assert answers == ["Yes.", "Yes."]
    assert ["tools" in it.json for it in api.server.requests] == [True, False, False]


def test_other_refusals_say_nothing_of_tools() -> None:
    said = ("our tools are great", "invalid model", "the customer asks for tools")
    replies = [httpjson.Reply(400, {}, {"error": {"message": it}}) for it in said]

    assert not any(map(lacks_tools, replies))


@pytest.mark.parametrize(
    ("text", "left", "handover"),
    [
        ("Yes.", "Yes.", None),
        ("Yes. [[hand over]]", "Yes.", Handover()),
        ("[[Hand_Over | asked | high | a | b]] Yes.", "Yes.", Handover("asked", "a | b", "high")),
        ("Yes.\n[[hand over | asked | high | cut sh", "Yes.", Handover("asked", "cut sh", "high")),
        ("Yes.\n[[hand over: please come]]", "Yes.", Handover("unknown", ": please come")),
        ("We hand over gift cards [at the desk].", "We hand over gift cards [at the desk].", None),
    ],
)
def test_line_is_taken_out_of_the_answer(text: str, left: str, handover: Handover | None) -> None:
    found, noted = without_note(text)

    assert found == left
    assert noted == handover
    assert (noted and noted.summary) == (handover and handover.summary)


def test_answer_that_cannot_be_sent_is_refused_without_a_hand_over_alone() -> None:
    with pytest.raises(UnusableAnswerError):
        cleaned(Answer(""))
    assert cleaned(Answer("x" * 20_000, Handover("asked"))) == Answer("", Handover("asked"))


def test_promises_of_the_corpus_are_found_and_harmless_answers_are_not() -> None:
    """The rates of docs/conversation.md; two promises of the corpus are of no table's words."""
    missed = [text for text in CORPUS["promising"] if not promises(text)]
    mistaken = [text for text in CORPUS["harmless"] if promises(text)]
    for name, wrong, kind in (("missed", missed, "promising"), ("mistaken", mistaken, "harmless")):
        print(f"\npromises {name}: {len(wrong)} of {len(CORPUS[kind])}")  # noqa: T201

    assert min(len(CORPUS["promising"]), len(CORPUS["harmless"])) >= 60
    assert (len(missed), len(mistaken)) == (2, 0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_we_say_of_a_person_ourselves_is_a_promise(language: str) -> None:
    assert promises(default(language, "sentence"))
    assert default(f"{language}-XX", "apology") == default(language, "apology")


def test_language_without_a_table_is_told_in_english() -> None:
    assert default("tr", "sentence") == default("en", "sentence")


@pytest.mark.parametrize(
    ("customer", "turn", "reason"),
    [
        ("1", "Can I talk to a real person?", "words"),
        ("1", "оператор", "words"),
        ("1", "Позовите администратора", "words"),
        ("1", "Quiero hablar con una persona", "words"),
        ("1", "Quero falar com um atendente", "words"),
        ("1", "Ich möchte mit einem Menschen sprechen", "words"),
        ("1", "Je voudrais parler à un conseiller", "words"),
        ("1", "Оператормен сөйлескім келеді, оператор керек", "words"),
        ("1", "My Voucher  Code does nothing", "words"),
        ("1", "THIS IS THE THIRD TIME I AM WRITING", "angry"),
        ("1", "Where are you?!?!", "angry"),
        ("1", "Верните деньги", "angry"),
        ("79990000001", "Hi", "vip"),
        ("79990000001@c.us", "Hi", "vip"),
        ("1", "Do you work with a tour operator from Spain?", ""),
        ("1", "How much is a haircut?", ""),
        ("1", "OK", ""),
        ("79990000002", "Hi", ""),
    ],
)
def test_rules_find_who_needs_a_person(customer: str, turn: str, reason: str) -> None:
    claim = DESK.claims([customer], turn)

    assert (claim.reason if claim else "") == reason


def test_anger_that_is_cold_is_not_found_and_joy_in_capitals_is_taken_for_it() -> None:
    """The limits of the rule."""
    assert not is_angry("I expected better, and I will remember it.")
    assert is_angry("THANK YOU SO MUCH, YOU ARE WONDERFUL")


def test_third_answer_in_a_row_that_understood_nothing_hands_over() -> None:
    lost = Answer("I am not sure that I understand. Please say it in other words.")
    past = [Exchange("abc", lost.text), Exchange("still there", ""), Exchange("and", lost.text)]

    assert DESK.settled(past[:2], lost) == lost
    assert DESK.settled([*past, Exchange("Hi", "Hello!")], lost) == lost
    handover = DESK.settled(past, lost).handover
    assert handover
    assert handover.reason == "unclear"


def test_hand_over_without_words_has_the_accounts_own() -> None:
    empty = Answer("", Handover("asked"))

    assert DESK.settled((), empty).text == default("en", "sentence")
    assert PhraseDesk(language="en", sentence="Soon.").settled((), empty).text == "Soon."
    promised = DESK.settled((), Answer("A colleague will answer you here.")).handover
    assert promised
    assert promised.reason == "promised"


def test_summary_is_as_long_as_a_person_reads() -> None:
    assert len(Handover("asked", "x" * 9_999).summary) == SUMMARY_CHARACTERS_MAX
