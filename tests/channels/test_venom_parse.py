"""What is no customer's message: traces of ours, statuses, noise; and bodies of no known form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.errors import MalformedError
from batching.model import DeliveryStatus, Event, ForeignMessage, Kind, Media, Notice
from channels.inbound import ITEMS_MAX, Parsed
from channels.venom import parse
from tests.channels import test_venom_messages
from tests.channels.mutations import mutated
from tests.channels.venom_payloads import ACCOUNT, CUSTOMER, LID, inbound, names, payload

FOREIGN = ForeignMessage(ACCOUNT, CUSTOMER, "3EB0AA", "unknown")
GATEWAY_CUSTOMER = "79990000001"


def status(state: str, code: str = "") -> DeliveryStatus:
    return DeliveryStatus(ACCOUNT, "3EB0DD", state, code=code)


EXPECTED: dict[str, Event] = {
    "venom/self_message": FOREIGN,
    "venom/own_onmessage": FOREIGN,
    "venom/own_by_id_only": FOREIGN,
    "venom/own_by_id_taken_apart": FOREIGN,
    "venom/own_in_group": Notice(ACCOUNT, "group_message"),
    "venom/ack_failed": status("failed", "venom_ack_-1"),
    "venom/ack_downgraded": status("failed", "venom_ack_-7"),
    "venom/ack_queued": status("queued"),
    "venom/ack_sent": status("sent"),
    "venom/ack_delivered": status("delivered"),
    "venom/ack_read": status("read"),
    "venom/ack_played": status("played"),
    "venom/ack_lid": status("read"),
    "venom/ack_id_as_text": status("read"),
    "venom/ack_peer": Notice(ACCOUNT, "other_status"),
    "venom/ack_text": Notice(ACCOUNT, "other_status"),
    "venom/ack_of_customers": Notice(ACCOUNT, "other_status"),
    "venom/ack_group": Notice(ACCOUNT, "group_status"),
    "venom/group": Notice(ACCOUNT, "group_message"),
    "venom/group_by_flag": Notice(ACCOUNT, "group_message"),
    "venom/reaction_in_group": Notice(ACCOUNT, "group_message"),
    "venom/deleted_in_group": Notice(ACCOUNT, "group_message"),
    "venom/poll_vote_in_group": Notice(ACCOUNT, "group_message"),
    "venom/call_in_group": Notice(ACCOUNT, "group_message"),
    "venom/broadcast": Notice(ACCOUNT, "broadcast"),
    "venom/newsletter": Notice(ACCOUNT, "newsletter"),
    "venom/history": Notice(ACCOUNT, "history"),
    "venom/reaction_own": Notice(ACCOUNT, "own_reaction"),
    "venom/deleted_own": Notice(ACCOUNT, "own_deletion"),
    "venom/call_own": Notice(ACCOUNT, "own_call"),
    "venom/noise_call_log": Notice(ACCOUNT, "noise"),
    "venom/noise_ciphertext": Notice(ACCOUNT, "noise"),
    "venom/noise_e2e_notification": Notice(ACCOUNT, "noise"),
    "venom/noise_gp2": Notice(ACCOUNT, "noise"),
    "venom/noise_notification_template": Notice(ACCOUNT, "noise"),
    "venom/noise_protocol": Notice(ACCOUNT, "noise"),
    "venom/unread_messages": Notice(ACCOUNT, "unread_message"),
    "venom/live_location": Notice(ACCOUNT, "live_location"),
    "venom/qrcode": Notice(ACCOUNT, "needs_login"),
    "venom/phone_code": Notice(ACCOUNT, "needs_login"),
    "venom/status_find": Notice(ACCOUNT, "channel_state"),
    "venom/session_logged": Notice(ACCOUNT, "channel_state"),
    "venom/presence": Notice(ACCOUNT, "presence"),
    "venom/participants": Notice(ACCOUNT, "presence"),
    "venom/label": Notice(ACCOUNT, "label"),
    "venom/unknown_event": Notice(ACCOUNT, "other_event"),
    "gateway/single": inbound("gw-1", "Здравствуйте", customer=GATEWAY_CUSTOMER),
    "gateway/single_with_id": inbound("gw-2", "Здравствуйте", customer=GATEWAY_CUSTOMER),
    "gateway/single_with_server": inbound(
        "gw-3", "Добрый день", customer="79990000001@s.whatsapp.net"
    ),
    "gateway/single_non_text": inbound(
        "gw-4",
        "[The customer sent something that cannot be shown here]",
        Kind.UNSUPPORTED,
        customer=GATEWAY_CUSTOMER,
    ),
    "gateway/single_from_lid": inbound("gw-5", "С LID", customer=LID, secondary=True),
    "gateway/single_from_group": Notice(ACCOUNT, "group_message"),
    "gateway/several_as_object": inbound("gw-10", "Одно", customer=GATEWAY_CUSTOMER),
    "gateway/reaction_in_group": Notice(ACCOUNT, "group_message"),
}
SEVERAL = Parsed(
    (
        inbound("gw-7", "Можно", customer=GATEWAY_CUSTOMER),
        inbound("gw-8", "А мне?", customer="79990000002", sent_at_ms=1_768_478_401_000),
        inbound(
            "gw-9",
            f"{test_venom_messages.PICTURE} Вот так",
            Kind.IMAGE,
            customer=GATEWAY_CUSTOMER,
            sent_at_ms=1_768_478_402_000,
            media=Media("gw-9"),
        ),
    ),
    malformed=2,
)


@pytest.mark.parametrize("path", EXPECTED)
def test_each_form_of_anything_else_is_read(path: str) -> None:
    assert parse(payload(path), ACCOUNT) == Parsed((EXPECTED[path],))


def test_several_messages_are_read_in_order_and_the_broken_ones_counted() -> None:
    assert parse(payload("gateway/several"), ACCOUNT) == SEVERAL


def test_no_messages_are_no_events() -> None:
    assert parse(payload("gateway/several_empty"), ACCOUNT) == Parsed(())


def test_every_recorded_form_is_expected_somewhere() -> None:
    """A recorded payload that no test compares would prove nothing."""
    compared = (
        {f"venom/{name}" for name in test_venom_messages.EXPECTED}
        | {path for path, _, _ in test_venom_messages.WITHOUT_ID}
        | set(EXPECTED)
        | {"gateway/several", "gateway/several_empty"}
    )

    assert compared == {
        f"{folder}/{name}" for folder in ("venom", "gateway") for name in names(folder)
    }


@pytest.mark.parametrize("body", [None, 1, "text", [], [{"from": "1"}], True])
def test_body_that_is_no_object_is_malformed(body: object) -> None:
    with pytest.raises(MalformedError, match="body: must be an object"):
        parse(body, ACCOUNT)


@pytest.mark.parametrize("body", [{}, {"foo": 1}, {"message": "x"}, {"emoji": "x"}, {"from": " "}])
def test_body_that_names_no_customer_is_malformed(body: object) -> None:
    with pytest.raises(MalformedError, match="from: must be there"):
        parse(body, ACCOUNT)


def test_event_that_names_no_customer_is_counted() -> None:
    body = {"event": "onmessage", "session": "salon", "body": "x", "type": "chat"}

    assert parse(body, ACCOUNT) == Parsed((), malformed=1)


def test_too_many_messages_are_refused() -> None:
    message = {"from": "79990000001", "body": "x", "messageId": "m"}

    assert len(parse({"messages": [message] * ITEMS_MAX}, ACCOUNT).events) == ITEMS_MAX
    with pytest.raises(MalformedError, match=f"must be at most {ITEMS_MAX}"):
        parse({"messages": [message] * (ITEMS_MAX + 1)}, ACCOUNT)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters() | st.characters(categories=["Cs"])),
    st.just([]),
    st.just([[[]]]),
    st.just({}),
    st.just({"_serialized": {"_serialized": 1}, "id": [], "user": None, "server": 0}),
    st.just("9" * 5_000),
    st.just(10**5_000),
)
BODIES = [
    payload(f"{folder}/{name}") for folder in ("venom", "gateway") for name in sorted(names(folder))
]


@given(mutated(BODIES, ODD))
def test_mutated_body_is_read_or_malformed_and_nothing_else(body: Any) -> None:
    try:
        parsed = parse(body, ACCOUNT)
    except MalformedError:
        return
    for event in parsed.events:
        str(event).encode()  # raises for what is beyond UTF-8
        assert event.account_id == ACCOUNT
