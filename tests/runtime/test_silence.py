import pytest

from runtime.fleet import (
    FLUSHER_SILENT_MS_MAX,
    NEVER,
    SILENCE_COOLDOWN_MS,
    SILENCE_LASTS_MS,
    Silence,
)
from tests.fakes import FakeClock


@pytest.fixture
def silence(clock: FakeClock) -> Silence:
    return Silence(clock)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["problem"] for record in caplog.records]


@pytest.mark.parametrize(
    ("lag_ms", "words"),
    [
        (NEVER, "this Redis was never flushed"),
        (FLUSHER_SILENT_MS_MAX + 1, "this Redis was last flushed 30001 ms ago"),
    ],
)
def test_redis_that_nobody_flushes_is_told_in_plain_words(
    silence: Silence,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    lag_ms: int,
    words: str,
) -> None:
    silence.observe([lag_ms])
    clock.advance_ms(SILENCE_LASTS_MS)
    silence.observe([lag_ms])

    assert told(caplog) == [words]
    assert caplog.records[0].levelname == "ERROR"


def test_start_of_an_installation_is_not_told(
    silence: Silence, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    silence.observe([NEVER])
    clock.advance_ms(SILENCE_LASTS_MS - 1)
    silence.observe([NEVER])

    assert told(caplog) == []


def test_flusher_that_comes_back_begins_anew(
    silence: Silence, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """After a Redis that was away, the first lag is long, and the next is not."""
    silence.observe([NEVER, FLUSHER_SILENT_MS_MAX])
    clock.advance_ms(SILENCE_LASTS_MS)
    silence.observe([NEVER])

    assert told(caplog) == []


@pytest.mark.parametrize(
    ("wait_ms", "times"), [(SILENCE_COOLDOWN_MS - 1, 1), (SILENCE_COOLDOWN_MS, 2)]
)
def test_silence_that_lasts_is_told_again_after_a_while(
    silence: Silence,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    wait_ms: int,
    times: int,
) -> None:
    silence.observe([NEVER])
    clock.advance_ms(SILENCE_LASTS_MS)
    silence.observe([NEVER, NEVER])
    clock.advance_ms(wait_ms)
    silence.observe([NEVER])

    assert len(told(caplog)) == times


def test_receipt_that_does_not_tell_the_lag_says_nothing(
    silence: Silence, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    silence.observe([NEVER, -2])
    clock.advance_ms(SILENCE_LASTS_MS)
    silence.observe([-2, NEVER])

    assert len(told(caplog)) == 1
