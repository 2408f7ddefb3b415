"""Statuses, echoes, handovers and notices of the Cloud API, and that history is not live."""

import pytest

from batching.model import DeliveryStatus, Event, ForeignMessage, InboundMessage, Kind, Notice
from channels.inbound import Parsed
from tests.channels import test_whatsapp_cloud_messages as messages
from tests.channels.whatsapp_cloud_payloads import (
    CUSTOMER,
    NAMES,
    SENT_AT_MS,
    USER_ID,
    load,
    read,
)

OUR_TAG = "aa:c_0123:b1:0"


def status(state: str, tag: str = OUR_TAG, code: str = "") -> DeliveryStatus:
    return DeliveryStatus("salon", "wamid.out", state, tag, code)


def foreign(provider_id: str, author: str = "person", customer: str = CUSTOMER) -> ForeignMessage:
    return ForeignMessage("salon", customer, provider_id, author)


def notice(name: str, account_id: str = "salon") -> Notice:
    return Notice(account_id, name)


CALL = InboundMessage("salon", CUSTOMER, "wacid.1", Kind.CALL, "[The customer called]", SENT_AT_MS)

EXPECTED: dict[str, tuple[Event, ...]] = {
    "status_sent": (status("sent"),),
    "status_delivered": (status("delivered"),),
    "status_read": (status("read"),),
    "status_played": (status("played"),),
    "status_failed": (status("failed", code="cloud_131047"),),
    "status_without_recipient": (status("delivered", tag=""),),
    "status_of_another_app": (foreign("wamid.theirs", "app"),),
    "status_of_another_app_to_user_id": (foreign("wamid.theirs", "app", USER_ID),),
    "status_deleted": (notice("other_status"),),
    "status_unknown": (notice("other_status"),),
    "status_of_group": (notice("group_status"),) * 3,
    "provider_error": (notice("provider_error"),),
    "echo_text": (foreign("wamid.echo"),),
    "echo_edit_and_revoke": (foreign("wamid.echo-edit"), foreign("wamid.echo-revoke")),
    "echo_to_user_id": (foreign("wamid.echo", customer=USER_ID),),
    "echo_of_agent": (foreign("wamid.echo", "meta_agent"),),
    "echo_in_messages": (foreign("wamid.echo", "unknown"),),
    "echo_of_agent_to_user_id": (foreign("wamid.agent", "meta_agent", USER_ID),),
    "echo_to_group": (notice("group_message"),),
    "standby": (
        notice("standby_message"),
        foreign("wamid.agent", "meta_agent"),
        DeliveryStatus("salon", "wamid.agent", "sent"),
    ),
    "handover_passed": (notice("control_passed"),),
    "handover_taken": (notice("control_taken"),),
    "handover_other": (notice("control_changed"),),
    "group_message": (notice("group_message"),),
    "system_changed_number": (notice("identity_changed"),),
    "system_changed_user_id": (notice("identity_changed"),),
    "system_changed_identity": (notice("identity_changed"),),
    "system_other": (notice("system"),),
    "request_welcome": (notice("request_welcome"),),
    "user_id_update": (notice("identity_changed"),),
    "calls": (CALL, notice("call"), notice("call"), notice("call")),
    "history": (notice("history"),),
    "app_state_sync": (notice("smb_app_state_sync"),),
    "user_preferences": (notice("user_preferences"),),
    "account_update": (notice("account_update", account_id=""),),
    "phone_number_quality_update": (notice("phone_number_quality_update", account_id=""),),
    "template_status_update": (notice("message_template_status_update", account_id=""),),
    "unknown_field": (notice("other_field", account_id=""),),
}

#: Each lacks one thing that its event needs.
MALFORMED = {"echo_to_nobody", "echo_without_id", "status_without_id"}

#: Fixtures with tests of their own.
ELSEWHERE = {"many", "timestamp_is_absurd", "control_characters"}


@pytest.mark.parametrize("name", EXPECTED)
def test_webhook_that_is_no_message_reads_as(name):
    assert read(load(name)) == Parsed(EXPECTED[name])


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_item_that_lacks_what_its_event_needs_is_malformed(name):
    assert read(load(name)) == Parsed((), malformed=1)


def test_every_fixture_has_an_expectation():
    assert set(NAMES) == EXPECTED.keys() | messages.EXPECTED.keys() | MALFORMED | ELSEWHERE
