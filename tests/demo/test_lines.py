"""What a newcomer sees of the logs."""

import pytest

from demo.lines import notable

STARTED = '{"ts": "2026-01-01T00:00:00.000Z", "level": "INFO", "event": "process.started"}'
RETRIED = (
    '{"ts": "2026-01-01T00:00:00.000Z", "level": "WARNING", "event": "batch.retried",'
    ' "logger": "batching.flow", "role": "worker", "release": "unknown", "code": "model_429"}'
)
CRASHED = (
    '{"level": "ERROR", "event": "doorbell.failed", "exception": "KeyError", "trace": "doors.py:1"}'
)
GUNICORN = '{"asctime": "now", "levelname": "ERROR", "name": "gunicorn.error", "message": "Bad"}'
MASTER = "[2026-01-01 00:00:00,000] [PID 7] [MainThread] [dramatiq.MainProcess] [{}] Something"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (STARTED, None),
        (RETRIED, "WARNING batch.retried code=model_429"),
        (CRASHED, "ERROR doorbell.failed exception=KeyError\ndoors.py:1"),
        (GUNICORN, "ERROR Bad"),
        (MASTER.format("INFO"), None),
        (MASTER.format("CRITICAL"), "Something"),
        ("", None),
        ("Traceback (most recent call last):", "Traceback (most recent call last):"),
        ("{not json", "{not json"),
    ],
)
def test_routine_stays_unseen_and_trouble_is_shown(line, shown):
    assert notable(line) == shown
