import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from batching.errors import TransientError
from runtime.logs import EventFormatter, start_logging

WORDS = "a customer's words"


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.captureWarnings(capture=False)


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    line = EventFormatter(role="worker", release="r1").format(record)
    assert "\n" not in line
    fields: dict[str, Any] = json.loads(line)
    return fields


def record(event: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("batching.flow").makeRecord(
        "batching.flow", logging.INFO, "file.py", 1, event, (), None, extra=extra
    )


def test_line_tells_when_what_who_and_the_fields_in_that_order() -> None:
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


def test_field_cannot_pretend_to_be_another_process() -> None:
    assert line_of(record("process.started", role="web", release="r0"))["role"] == "worker"


def test_numbers_of_people_are_removed_wherever_they_stand() -> None:
    fields = line_of(record("call to +79990000001 failed", to=79990000001, note="79990000001@c.us"))

    assert "7999" not in json.dumps(fields)


def test_exception_is_a_class_a_code_and_places() -> None:
    def fail() -> None:
        raise TransientError("model_429", WORDS)

    try:
        fail()
    except TransientError:
        event = record("doorbell.failed")
        event.exc_info = sys.exc_info()

    fields = line_of(event)

    assert fields["exception"] == "batching.errors.TransientError model_429"
    assert [place.rpartition(" ")[2] for place in fields["trace"]] == [
        "test_exception_is_a_class_a_code_and_places",
        "fail",
    ]
    assert WORDS not in json.dumps(fields)


def test_exception_in_a_field_does_not_speak() -> None:
    assert WORDS not in json.dumps(line_of(record("doorbell.failed", error=ValueError(WORDS))))


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


def test_library_that_tells_of_every_request_is_quiet(
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
