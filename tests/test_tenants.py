"""One person writes to two businesses: each answers by itself, with nothing of the other's."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from batching.inspect import counters
from tests.street import BATCH, NAMES, Street, street
from tests.webhooks import CUSTOMER, body, change, status

__all__ = ["street"]

#: Who is written to, step by step; "both" in one webhook, as Meta delivers them for one app.
STEPS = st.lists(st.sampled_from([*NAMES, "both"]), min_size=2, max_size=10)


@settings(max_examples=25)
@given(steps=STEPS, settle_after=st.sets(st.integers(0, 9)))
def test_businesses_answer_the_same_customer_each_by_itself(
    street: Street, steps: list[str], settle_after: set[int]
) -> None:
    street.empty()
    for n, step in enumerate(steps):
        names = NAMES if step == "both" else (step,)
        changes = [street.businesses[name].message(f"to the {name}, step {n}") for name in names]
        assert street.caller.cloud(body(*changes)).status_code == 200
        if n in settle_after:
            street.settle()
    street.settle()

    for name, business in street.businesses.items():
        other = next(one for one in NAMES if one != name)
        assert [turn_of(asked.json) for asked in business.model.requests] == batches(street, name)
        for asked in business.model.requests:
            content = asked.body.decode() + json.dumps(dict(asked.headers))
            assert f"{name}-word" in content
            assert f"{name}-KEY" in content
            assert asked.json["model"] == f"{name}-model"
            assert other not in content
    texts = [sent for sent in street.provider.requests if sent.json.get("type") == "text"]
    assert len(texts) == sum(len(b.model.requests) for b in street.businesses.values())
    for sent in street.provider.requests:
        name = next(n for n, b in street.businesses.items() if b.number in sent.path)
        assert sent.headers["authorization"] == f"Bearer {name}-TOKEN"
        if sent.json.get("type") == "text":
            assert (sent.json["to"], sent.json["text"]["body"]) == (
                CUSTOMER,
                f"Answer of the {name}",
            )
    (counted,) = counters(street.runtime.store)
    assert (counted.holds, counted.lost, counted.dead) == (True, 0, 0)


def batches(street: Street, name: str) -> list[str]:
    """Return what was asked of a business's model: its own messages in order, whole."""
    asked = [turn_of(request.json) for request in street.businesses[name].model.requests]
    written = street.businesses[name].written
    lines = [line for turn in asked for line in turn.split("\n")]
    assert lines == written[: len(lines)]
    assert len(written) - len(lines) < BATCH
    return asked


def turn_of(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"])


def test_conversations_of_one_customer_with_two_businesses_share_no_key(street: Street) -> None:
    for business in street.businesses.values():
        street.caller.cloud(body(business.message("Hi")))

    client: Any = street.runtime.store.client
    conversations = {street.runtime.store.conversation_id(name, CUSTOMER) for name in NAMES}
    kept = [key.decode() for key in client.scan_iter("*c_*")]
    assert len(conversations) == 2
    assert sorted(kept) == sorted(
        f"{{aa1.0}}:{kind}:{conversation}"
        for kind in ("c", "o", "seen")
        for conversation in conversations
    )


def test_business_that_reports_about_the_others_answer_changes_nothing(street: Street) -> None:
    """Its statuses are signed, and it knows the tag and the id of the other's message."""
    salon, barber = (street.businesses[name] for name in NAMES)
    street.caller.cloud(body(*(salon.message("Hi") for _ in range(BATCH))))
    street.settle()
    (sent,) = (sent for sent in street.provider.requests if sent.json.get("type") == "text")
    failed = status("wamid.1", "failed", sent.json["biz_opaque_callback_data"], 131_026)
    alerts = street.runtime.store.keyring.shards[0].alerts

    reports = [
        street.caller.cloud(body(change(number=number, statuses=[failed])))
        for number in (barber.number, salon.number)
    ]

    assert [report.status_code for report in reports] == [200, 200]
    client: Any = street.runtime.store.client
    assert [(entry[b"kind"], entry[b"account"]) for _, entry in client.xrange(alerts)] == [
        (b"status_refused", b"barber"),
        (b"undelivered", b"salon"),
    ]
