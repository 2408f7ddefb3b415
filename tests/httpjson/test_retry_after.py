"""How long an answer asks to wait, in each form that it may say so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from httpjson import RETRY_AFTER_MS_MAX, retry_after_ms

SENT = "Thu, 15 Jan 2026 12:00:00 GMT"
TEXT = st.text() | st.sampled_from([SENT, "1e9", "nan", "inf", "9" * 5_000])


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        ({}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "7"}, 7_000),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "0.5"}, 500),
        ({"retry-after-ms": "1250", "retry-after": "9"}, 1_250),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9_000),
        ({"retry-after": "31536000"}, RETRY_AFTER_MS_MAX),
        ({"retry-after": "9" * 5_000}, RETRY_AFTER_MS_MAX),
        ({"retry-after": "soon", "retry-after-ms": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Thu, 15 Jan 2026 12:00:30 GMT", "date": SENT}, 30_000),
        ({"retry-after": "Thu, 15 Jan 2026 11:00:00 GMT", "date": SENT}, 0),
        ({"retry-after": "Fri, 15 Jan 2027 12:00:00 GMT", "date": SENT}, RETRY_AFTER_MS_MAX),
        ({"retry-after": "Thu, 15 Jan 99999999999 12:00:00 GMT", "date": SENT}, None),
        ({"retry-after": SENT, "date": "yesterday"}, None),
        ({"retry-after": SENT}, None),
        ({"retry-after": SENT, "date": "Thu, 15 Jan 2026 12:00:00 -0000"}, None),
    ],
)
def test_wait_is_read_in_every_form_up_to_an_hour(
    headers: dict[str, str], wait_ms: int | None
) -> None:
    """A date counts from the server's own, so that its clock and ours need not agree."""
    assert retry_after_ms(headers) == wait_ms


@given(st.fixed_dictionaries({"retry-after-ms": TEXT, "retry-after": TEXT, "date": TEXT}))
def test_no_header_asks_for_an_absurd_wait(headers: dict[str, str]) -> None:
    wait_ms = retry_after_ms(headers)

    assert wait_ms is None or 0 <= wait_ms <= RETRY_AFTER_MS_MAX
