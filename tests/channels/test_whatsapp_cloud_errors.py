"""Which answers of the Cloud API may pass, will not, stop the account, or tell nothing."""

import pytest

from batching.errors import (
    AdminError,
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from channels.whatsapp_cloud.inbound import error_name
from channels.whatsapp_cloud.send import failure
from httpjson import Reply

#: error.code -> what it means, whatever the HTTP status.
CODES: dict[type[AdminError], list[int]] = {
    TransientError: [1, 2, 4, 80007, 130429, 131016, 131056, 131057, 133016],
    AmbiguousError: [131000],
    ChannelStoppedError: [
        *[0, 3, 10, 33, 190, 200, 219, 299, 368],
        *[131005, 131031, 131037, 131042, 131045, 131048, 133010],
    ],
    PermanentError: [
        *[100, 130472, 130497, 131008, 131009, 131021, 131026, 131030, 131047, 131049, 131050],
        *[131051, 131052, 131053, 131062, 131063, 132000, 132001, 132999],
    ],
}

#: HTTP status -> what it means without a code, or with an unknown one.
STATUSES: dict[type[AdminError], list[int]] = {
    TransientError: [429],
    AmbiguousError: [200, 202, 408, 500, 502, 503, 504, 599],
    ChannelStoppedError: [301, 302, 307, 308, 401, 403, 404, 405],
    PermanentError: [400, 402, 409, 413, 415, 422],
}


def pairs(table: dict[type[AdminError], list[int]]) -> list[tuple[int, type[AdminError]]]:
    return [(number, kind) for kind, numbers in table.items() for number in numbers]


@pytest.mark.parametrize(("code", "kind"), pairs(CODES))
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_code_decides_whatever_the_status(status, code, kind):
    error = failure(Reply(status, {}, None), code)

    assert (type(error), error.code) == (kind, f"cloud_{code}")


@pytest.mark.parametrize(("status", "kind"), pairs(STATUSES))
def test_status_decides_without_a_code(status, kind):
    error = failure(Reply(status, {}, None), None)

    assert (type(error), error.code) == (kind, f"cloud_http_{status}")


@pytest.mark.parametrize(("status", "kind"), pairs(STATUSES))
def test_status_decides_where_the_code_is_unknown(status, kind):
    error = failure(Reply(status, {}, None), 999_999)

    assert (type(error), error.code) == (kind, "cloud_999999")


@pytest.mark.parametrize("code", [130429, 131048])
def test_what_may_pass_carries_the_wait_that_was_asked_for(code):
    error = failure(Reply(429, {"retry-after": "30"}, None), code)

    assert isinstance(error, TransientError)
    assert error.retry_after_ms == 30_000


@pytest.mark.parametrize(
    ("code", "name"),
    [(131047, "cloud_131047"), (9_999_999, "cloud_9999999"), (79990000001, "cloud_other"),
     (-1, "cloud_other")],
)  # fmt: skip
def test_number_that_is_no_code_of_metas_is_not_repeated(code: int, name: str) -> None:
    assert error_name(code) == name
    assert failure(Reply(400, {}, None), code).code == name
