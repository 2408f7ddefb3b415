"""What no honest provider sends, made by hand; ``tests/fuzz`` makes it by the thousand."""

import json
from typing import Any

import pytest

from batching.inspect import counters
from batching.model import decode
from runtime.build import Runtime
from tests.web.conftest import accepted
from tests.webhooks import CUSTOMER, Caller, body, change, code, counts, text_message

ODD_TIMES: list[Any] = ["0", "-1", "9" * 20, "soon", "", None, -1e308, 1e400, [], {}, True, "１７"]
ODD_CUSTOMERS: list[Any] = ["", " ", "\x00", "7" * 100_000, None, []]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in text_message().items() if key != name}


def test_very_many_messages_in_one_body_are_too_many(caller: Caller, runtime: Runtime) -> None:
    """Small enough to be read, far more than Meta sends: refused as a whole, nothing stored."""
    many = body(change(*({"id": f"w{n}", "from": "7"} for n in range(100_000))))

    result = caller.cloud(json.dumps(many, separators=(",", ":")).encode())

    assert code(result) == (413, "too_many_items")
    assert accepted(runtime) == 0


@pytest.mark.parametrize(
    ("messages", "counted"),
    [
        pytest.param([text_message()] * 1000, counts(accepted=1, duplicate=999), id="a thousand"),
        pytest.param([without("id")] * 2, counts(accepted=1, duplicate=1), id="no id"),
        pytest.param(
            [without("from"), text_message()], counts(accepted=1, malformed=1), id="nobody's"
        ),
        *(
            pytest.param([without(name), text_message("w2")], counts(accepted=2), id=f"no {name}")
            for name in ("timestamp", "type", "text")
        ),
        *(([text_message(timestamp=odd)], counts(accepted=1)) for odd in ODD_TIMES),
        ([text_message(customer="é")], counts(accepted=1)),
        ([text_message() | {"from": 79990000001}], counts(accepted=1)),
        *(([text_message(customer=odd)], counts(malformed=1)) for odd in ODD_CUSTOMERS),
    ],
)
def test_absurd_message_is_counted_and_stored_once(
    caller: Caller, runtime: Runtime, messages: list[object], counted: dict[str, object]
) -> None:
    result = caller.cloud(body(change(*messages)))

    assert (result.status_code, result.json) == (200, counted)
    (shard,) = counters(runtime.store)
    assert (shard.accepted, shard.open) == (counted["accepted"],) * 2


@pytest.mark.parametrize(
    "text",
    ["\x00", "a\x00b", "\ud800", "\udfff and \ud83d", "\u202e\u202d", "\u0000" * 4000, "🙂" * 4096],
)
def test_strange_characters_are_stored_and_can_be_read_again(
    caller: Caller, runtime: Runtime, text: str
) -> None:
    result = caller.cloud(body(change(text_message(text=text))))

    store = runtime.store
    conversation_id = store.conversation_id("salon", CUSTOMER)
    kept: Any = store.client.lrange(
        store.shard_of(conversation_id).open_messages(conversation_id), 0, -1
    )
    assert result.json == counts(accepted=1)
    assert [bool(decode("salon", raw).text.encode()) for raw in kept] == [True]
