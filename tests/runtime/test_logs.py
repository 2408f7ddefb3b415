"""Log lines, and what is redacted in them."""

import json
import logging
import sys
import warnings
from typing import Any

import pytest

from batching.errors import PermanentError, TransientError
from runtime.logs import EventFormatter, clean, exception_name, redacted, start_logging, trace

WORDS = "a customer's words"


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    line = EventFormatter(role="worker", release="r1").format(record)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


def record(event: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("batching.flow").makeRecord(
        "batching.flow", logging.INFO, "file.py", 1, event, (), None, extra=extra
    )


def test_line_has_time_event_process_and_fields_in_that_order() -> None:
    event = record("batch.collected", conversation_id="c_9f2c", batch_size=3, waited_ms=9_120)
    event.created = 1_768_478_400.5

    assert list(line_of(event).items()) == [
        ("ts", "2026-01-15T12:00:00.500Z"),
        ("level", "INFO"),
        ("event", "batch.collected"),
        ("logger", "batching.flow"),
        ("role", "worker"),
        ("release", "r1"),
        ("conversation_id", "c_9f2c"),
        ("batch_size", 3),
        ("waited_ms", 9_120),
    ]


def test_field_of_a_call_cannot_replace_the_role() -> None:
    assert line_of(record("process.started", role="web", release="r0"))["role"] == "worker"


def test_phone_numbers_are_removed_from_event_and_fields() -> None:
    fields = line_of(record("call to +79990000001 failed", to=79990000001, note="79990000001@c.us"))

    assert "7999" not in json.dumps(fields)


def test_exception_is_logged_as_class_code_and_path() -> None:
    def fail() -> None:
        raise TransientError("model_429", WORDS)

    try:
        fail()
    except TransientError:
        event = record("wake_up.failed")
        event.exc_info = sys.exc_info()

    fields = line_of(event)

    assert fields["exception"] == "batching.errors.TransientError model_429"
    assert [place.rpartition(" ")[2] for place in fields["trace"]] == [
        "test_exception_is_logged_as_class_code_and_path",
        "fail",
    ]
    assert WORDS not in json.dumps(fields)


def test_message_of_an_exception_in_a_field_is_not_logged() -> None:
    assert WORDS not in json.dumps(line_of(record("wake_up.failed", error=ValueError(WORDS))))


def test_process_logs_json_on_stdout_once(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    root.addHandler(logging.StreamHandler())
    start_logging(role="web", release="r1", level="INFO")
    start_logging(role="web", release="r2", level="INFO")

    logging.getLogger("web").info("message.appended")
    logging.getLogger("web").debug("message.seen")

    printed = capsys.readouterr()
    assert printed.err == ""
    (line,) = printed.out.splitlines()
    assert json.loads(line)["release"] == "r2"


def test_library_that_logs_every_request_is_quiet(
    root: logging.Logger,  # noqa: ARG001 - put back afterwards
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging(role="worker", release="r1", level="INFO")

    logging.getLogger("httpx2").info("POST https://graph.example/79990000001")

    assert capsys.readouterr().out == ""


def test_warning_of_python_is_a_line_too(
    root: logging.Logger,  # noqa: ARG001 - put back afterwards
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_logging(role="worker", release="r1", level="INFO")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Another test's capture may be on without having any effect any more.
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("something is old", stacklevel=1)

    assert json.loads(capsys.readouterr().out)["logger"] == "py.warnings"


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
    assert clean({"error": ValueError(WORDS), "raw": b"words"}) == {
        "error": "<ValueError>",
        "raw": "<bytes>",
    }


def test_nesting_has_an_end() -> None:
    deep: list[object] = []
    deep.append(deep)

    assert "<list>" in str(clean(deep))


def test_exception_is_named_without_its_message() -> None:
    assert exception_name(ValueError(WORDS)) == "builtins.ValueError"
    error = PermanentError("model_400", WORDS)
    assert exception_name(error) == "batching.errors.PermanentError model_400"


def test_trace_has_places_and_no_values() -> None:
    def fail(words: str) -> None:
        raise ValueError(words)

    try:
        fail(WORDS)
    except ValueError as error:
        places = trace(error.__traceback__)

    assert [place.rpartition(" ")[2] for place in places] == [
        "test_trace_has_places_and_no_values",
        "fail",
    ]
    assert not [place for place in places if "words" in place]
