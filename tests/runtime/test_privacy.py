import pytest

from batching.errors import PermanentError
from runtime.logs import clean, exception_name, redacted, trace


@pytest.mark.parametrize(
    "number",
    [
        "79990000001",
        "+79990000001",
        "+7 999 000-00-01",
        "+7 (999) 000-00-01",
        "8 (999) 0000001",
        "999000001",
        "(999) 000-00-01",
    ],
)
def test_phone_number_is_removed(number: str) -> None:
    assert redacted(f"could not reach {number}, again") == "could not reach [number], again"


def test_address_of_a_customer_is_removed() -> None:
    assert redacted("79990000001@c.us is away") == "[number]@c.us is away"


@pytest.mark.parametrize(
    "text",
    [
        "c_9f2c01ab1234567890123456",
        "2026-11-24T03:05:00.123Z",
        "127.0.0.1:6379",
        "worker:host-1:4711",
        "attempt 3 of 8 after 12345678 ms",
        "release 1.20261124",
    ],
)
def test_what_is_no_phone_number_stays(text: str) -> None:
    assert redacted(text) == text


def test_text_has_a_length() -> None:
    assert len(redacted("x" * 1_000_000)) < 3_000


def test_values_are_cleaned_at_every_depth() -> None:
    value = {"a": [{"b": "+79990000001", "c": 79990000001}], "due_ms": 1768478400000, "n": 3}

    assert clean(value) == {
        "a": [{"b": "[number]", "c": "[number]"}],
        "due_ms": 1768478400000,
        "n": 3,
    }


def test_objects_are_named_by_their_type_alone() -> None:
    assert clean({"error": ValueError("a customer's words"), "raw": b"words"}) == {
        "error": "<ValueError>",
        "raw": "<bytes>",
    }


def test_nesting_has_an_end() -> None:
    deep: list[object] = []
    deep.append(deep)

    assert "<list>" in str(clean(deep))


def test_exception_is_named_without_what_it_says() -> None:
    assert exception_name(ValueError("a customer's words")) == "builtins.ValueError"
    error = PermanentError("model_400", "a customer's words")
    assert exception_name(error) == "batching.errors.PermanentError model_400"


def test_trace_tells_places_and_no_values() -> None:
    def fail(words: str) -> None:
        raise ValueError(words)

    try:
        fail("a customer's words")
    except ValueError as error:
        places = trace(error.__traceback__)

    assert [place.rpartition(" ")[2] for place in places] == [
        "test_trace_tells_places_and_no_values",
        "fail",
    ]
    assert not [place for place in places if "words" in place]
