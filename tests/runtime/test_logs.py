"""Log lines, and what is redacted in them."""

import json
import logging
import os
import socket
import sys
import threading
import warnings
from typing import Any

import pytest

from batching.errors import TransientError
from batching.model import CANARY_ACCOUNT
from runtime.logs import (
    KINDS_MAX,
    SAMPLE_EVERY_MS,
    EventFormatter,
    Sampling,
    clean,
    fields_of,
    redacted,
    start_logging,
    write_counted,
)
from tests.fakes import FakeClock

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
        ("host", socket.gethostname()),
        ("pid", os.getpid()),
        ("release", "r1"),
        ("conversation_id", "c_9f2c"),
        ("batch_size", 3),
        ("waited_ms", 9_120),
    ]


def test_field_of_a_call_cannot_replace_the_process() -> None:
    line = line_of(record("process.started", role="web", host="elsewhere", pid=1, release="r0"))

    told = {name: line[name] for name in ("role", "host", "pid", "release")}
    assert told == {
        "role": "worker",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "release": "r1",
    }


def test_values_of_customers_are_removed_from_event_and_fields() -> None:
    event = record(
        "call to +79990000001 failed",
        to=79990000001,
        at_ms=1768478400000,
        ids=[{"79990000001@c.us": "+79990000001"}],
        error=ValueError(WORDS),
        raw=WORDS.encode(),
    )

    fields = line_of(event)

    assert fields["event"] == "call to [number] failed"
    assert {name: fields[name] for name in ("to", "at_ms", "ids", "error", "raw")} == {
        "to": "[number]",
        "at_ms": 1768478400000,
        "ids": [{"[number]@c.us": "[number]"}],
        "error": "<ValueError>",
        "raw": "<bytes>",
    }


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (TransientError("model_429", WORDS), "batching.errors.TransientError model_429"),
        (ValueError(WORDS), "builtins.ValueError"),
    ],
)
def test_exception_is_logged_as_class_code_and_path(error: Exception, name: str) -> None:
    def fail(_: str) -> None:
        raise error

    event = record("wake_up.failed")
    try:
        fail(WORDS)
    except type(error):
        event.exc_info = sys.exc_info()

    fields = line_of(event)

    assert fields["exception"] == name
    assert [place.rpartition(" ")[2] for place in fields["trace"]] == [
        "test_exception_is_logged_as_class_code_and_path",
        "fail",
    ]
    assert WORDS not in json.dumps(fields)


def test_process_logs_json_on_stdout_once(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    root.addHandler(logging.StreamHandler())
    start_logging(role="web", release="r1", level="INFO")
    start_logging(role="web", release="r2", level="INFO")

    logging.getLogger("web").info("message.appended")
    logging.getLogger("web").debug("message.seen")
    # A library that logs every request.
    logging.getLogger("httpx2").info("POST https://graph.example/79990000001")

    printed = capsys.readouterr()
    assert printed.err == ""
    (line,) = printed.out.splitlines()
    assert json.loads(line)["release"] == "r2"


def test_warning_of_python_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(role="worker", release="r1", level="INFO")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Another test's capture may be on without having any effect any more.
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("something is old", stacklevel=1)

    assert json.loads(capsys.readouterr().out)["logger"] == "py.warnings"


class Lines(logging.Handler):
    """Keep event and fields of each line that a handler with our filter writes."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.sampling = Sampling(clock)
        self.addFilter(self.sampling)
        self.written: list[tuple[str, dict[str, object]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append((str(record.msg), fields_of(record)))

    def take(self) -> list[tuple[str, dict[str, object]]]:
        taken, self.written = self.written, []
        return taken


@pytest.fixture
def lines(root: logging.Logger, clock: FakeClock) -> Lines:
    handler = Lines(clock)
    root.addHandler(handler)
    return handler


@pytest.mark.parametrize("event", ["webhook.refused", "request.unreadable", "report.lost"])
def test_what_strangers_cause_is_a_line_at_once_and_then_a_count(
    lines: Lines, clock: FakeClock, event: str
) -> None:
    log = logging.getLogger("web")
    for _ in range(1_000):
        log.warning(event, extra={"reason": "signature"})
    log.warning(event, extra={"reason": "secret"})
    lines.sampling.write()
    at_once = lines.take()

    clock.advance_ms(SAMPLE_EVERY_MS)
    lines.sampling.write()
    lines.sampling.write()
    log.warning(event, extra={"reason": "signature"})
    later = lines.take()

    assert at_once == [
        (event, {"reason": "signature", "count": 1}),
        (event, {"reason": "secret", "count": 1}),
    ]
    assert later == [(event, {"reason": "signature", "count": 999})]


def test_next_line_brings_what_was_counted_before_it(lines: Lines, clock: FakeClock) -> None:
    """Of items that a line already counts the sum."""
    log = logging.getLogger("web")
    for _ in range(3):
        log.error("webhook.malformed", extra={"count": 2})
    lines.take()
    clock.advance_ms(SAMPLE_EVERY_MS)

    log.error("webhook.malformed", extra={"count": 2})

    assert lines.take() == [("webhook.malformed", {"count": 6})]


def test_end_of_the_process_leaves_nothing_uncounted(lines: Lines) -> None:
    for _ in range(3):
        logging.getLogger("web").warning("webhook.refused")

    write_counted(whole=True)
    write_counted(whole=True)

    assert [fields["count"] for _, fields in lines.take()] == [1, 2]


def test_kinds_that_are_counted_apart_have_an_end(lines: Lines) -> None:
    """A field that a stranger should fill after all must not make lines, or memory, of it."""
    for n in range(10_000):
        logging.getLogger("web").warning("request.failed", extra={"place": f"file:{n}"})

    assert len(lines.take()) == KINDS_MAX + 1


@pytest.mark.parametrize("event", ["doorbell.lost", "doorbell.unanswered", "doorbell.deferred"])
def test_what_an_outage_does_to_every_batch_is_counted_with_one_as_example(
    lines: Lines, clock: FakeClock, event: str
) -> None:
    def fail(code: str, n: int) -> None:
        named = {"conversation": f"c_{n}", "batch": f"b{n}", "attempt": n}
        logging.getLogger("actors").warning(event, extra=named | {"code": code})

    for n in range(1_000):
        fail("redis_timeout", n)
    fail("redis_loading", 7)
    clock.advance_ms(SAMPLE_EVERY_MS)
    lines.sampling.write()

    told = [(fields["code"], fields["batch"], fields["count"]) for _, fields in lines.take()]
    assert told == [
        ("redis_timeout", "b0", 1),
        ("redis_loading", "b7", 1),
        ("redis_timeout", "b999", 999),
    ]


def test_two_faults_of_one_event_are_two_lines(lines: Lines) -> None:
    """Where an exception was raised tells one fault from another."""

    def one() -> None:
        raise KeyError(WORDS)

    def other() -> None:
        raise KeyError(WORDS)

    for fail in (one, other) * 3:
        try:
            fail()
        except KeyError:
            logging.getLogger("actors").exception("doorbell.failed")

    assert len(lines.take()) == 2


@pytest.mark.parametrize("event", ["message.appended", "batch.dropped", "not our webhook.refused"])
def test_what_happens_to_messages_is_always_a_line(lines: Lines, event: str) -> None:
    for _ in range(3):
        logging.getLogger("web").warning(event)

    assert lines.take() == [(event, {})] * 3


@pytest.mark.parametrize(
    "number",
    [
        "79990000001",
        "+79990000001",
        "+7 999 000-00-01",
        "+7 (999) 000-00-01",
        "8 (999) 0000001",
        "8(999)000-00-01",
        "999000001",
        "(999) 000-00-01",
        "999.000.00.01",
        "+7.999.000.00.01",
        "212.555.0123",
        "+7\u00a0999\u202f000\u201100\u201101",
        "00 7 999 000 00 01",
        # They only look like a date, or a UUID.
        "+7 2026-11-27-01",
        "+20 2026 112720",
        "20261399 250000",
        "12345678-1234-1234",
        # Longer than any number: two of them.
        "+7 999 000-00-01 +7 999 000-00-02",
    ],
)
def test_phone_number_is_removed(number: str) -> None:
    assert redacted(f"could not reach {number}, again") == "could not reach [number], again"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("79990000001 79990000002", "[number] [number]"),
        ("79990000001 12345678", "[number] 12345678"),
        ("2026-11-27 20:02:28 79990000001", "2026-11-27 20:02:28 [number]"),
        ("79990000001 2026-11-27 20:02:28", "[number] 2026-11-27 20:02:28"),
        ("79990000001@c.us", "[number]@c.us"),
        ("tel:79990000001", "tel:[number]"),
        ("79990000001.jpg", "[number].jpg"),
    ],
)
def test_phone_number_is_removed_whatever_stands_beside_it(text: str, left: str) -> None:
    assert redacted(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "c_9f2c01ab1234567890123456",
        "0190f5e2a1b3c4d5e6f708192a3b4c5d",
        "12345678-1234-4234-8234-123456789012",
        "123456789012345678901234",
        "worker:host-1:4711",
        "attempt 3 of 8 after 12345678 ms",
        "123456789012 bytes",
        "1234567890 ns",
        "90061.123456789 s",
        "1 d 02:03:04",
        "1795809748123",
        "1795809748.123",
        "2026-11-24T03:05:00.123Z",
        "2026-11-27 20:02:28",
        "2026-11-27 20:02:28,123",
        "2026-11-27 20:02:28 +0000",
        "2026-11-27 20:02:28+00:00",
        "2026-11-24 2026-11-27",
        "2026-11-24/2026-11-27",
        "2026-11-24..2026-11-27 20:02",
        "2026-11-24 00:00:00 - 2026-11-27 23:59:59",
        "27-11-2026 20:02:28",
        "27.11.2026 20:02:28",
        "11/27/2026 20:02:28",
        "27/Nov/2026:20:02:28 +0000",
        "20261127200228",
        "20261127-200228",
        "127.0.0.1:6379",
        "192.168.100.200",
        "192.168.100.200:65535",
        "http://127.0.0.1:8000 (47115)",
        "(pid:1234567) (1234567) 8000",
        "release 1.20261124",
        "release 2026-11-27-1",
        "2.2.1",
        "8.0.35-0ubuntu0.22.04.1",
    ],
)
def test_what_is_no_phone_number_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("name", ["at_ms", "used_bytes", "count", "accepted_total", "counts"])
def test_quantity_is_no_phone_number(name: str) -> None:
    assert clean({name: 1_234_567_890}) == {name: 1_234_567_890}


def test_text_and_nesting_have_an_end() -> None:
    deep: list[object] = []
    deep.append(deep)

    assert len(redacted("x" * 1_000_000)) < 3_000
    assert "<list>" in str(clean(deep))


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("logger", "level", "sentence", "values", "line"),
    [
        ("MainProcess", "INFO", "Dramatiq '2.2.1' is booting up.", (), "INFO master.started 2.2.1"),
        (
            "MainProcess",
            "CRITICAL",
            "Worker with PID %r exited unexpectedly (code %r). Shutting down...",
            (4711, -9),
            "ERROR worker.died 4711 -9",
        ),
        (
            "worker.ConsumerThread(flush)",
            "CRITICAL",
            "Consumer encountered a connection error: %s",
            (ValueError(TimeoutError(WORDS)),),
            "WARNING broker.unreachable TimeoutError flush 1",
        ),
        ("worker.ConsumerThread(a)", "INFO", "Restarting consumer in %0.2f seconds.", (1.0,), ""),
        ("worker.Worker", "INFO", "Shutting down...", (), "INFO worker.draining"),
        # What we do not know stays as it is.
        ("worker.Worker", "INFO", "Something of %s", ("theirs",), "INFO Something of theirs"),
        ("elsewhere", "INFO", "Shutting down...", (), "INFO worker.draining"),
    ],
)  # fmt: skip
def test_sentence_of_a_library_is_an_event_with_its_values(
    capsys: pytest.CaptureFixture[str],
    logger: str,
    level: str,
    sentence: str,
    values: tuple[object, ...],
    line: str,
) -> None:
    start_logging(role="worker", release="r1", level="INFO")

    logging.getLogger(f"dramatiq.{logger}").log(logging.getLevelName(level), sentence, *values)

    usual = {"ts", "level", "event", "logger", "role", "host", "pid", "release"}
    told = [
        " ".join([it["level"], it["event"], *(str(it[name]) for name in it if name not in usual)])
        for it in said(capsys)
    ]
    assert told == [line] * bool(line)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_routine_of_the_canary_is_for_who_looks_for_it(
    capsys: pytest.CaptureFixture[str], level: str
) -> None:
    start_logging(role="worker", release="r1", level=level)
    log = logging.getLogger("batching.flow")

    log.info("message.appended", extra={"account": CANARY_ACCOUNT})
    log.info("doorbell.begun", extra={"conversation": "k_0f"})
    log.error("batch.dropped", extra={"account": CANARY_ACCOUNT})
    log.info("reply.generated", extra={"account": "salon", "conversation": "c_0f"})

    told = [(it["level"], it["event"]) for it in said(capsys)]
    routine = [("DEBUG", "message.appended"), ("DEBUG", "doorbell.begun")]
    rest = [("ERROR", "batch.dropped"), ("INFO", "reply.generated")]
    assert told == (rest if level == "INFO" else routine + rest)


@pytest.mark.usefixtures("root")
def test_what_nobody_caught_is_a_line_without_its_words(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(role="web", release="r1", level="INFO")

    def fail() -> None:
        raise KeyError(WORDS)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()

    printed = capsys.readouterr()
    (line,) = map(json.loads, printed.out.splitlines())
    assert (line["event"], line["exception"], printed.err) == (
        "process.crashed",
        "builtins.KeyError",
        "",
    )
    assert WORDS not in printed.out
