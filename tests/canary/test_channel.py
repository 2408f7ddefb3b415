import pytest

from batching.errors import MalformedError
from batching.model import CANARY_ACCOUNT, InboundMessage, Kind
from canary.channel import CUSTOMER, parse


def test_body_names_the_message():
    (message,) = parse({"message_id": "c-1"}).events

    assert message == InboundMessage(CANARY_ACCOUNT, CUSTOMER, "c-1", Kind.TEXT, "Are you open?")


def test_id_that_cannot_be_stored_is_cleaned():
    (message,) = parse({"message_id": "c\x00\ud800"}).events

    assert isinstance(message, InboundMessage)
    assert message.message_id == "c\ufffd"


@pytest.mark.parametrize("body", [None, [], {}, {"message_id": "c" * 65}, {"message_id": " "}])
def test_body_of_another_form_is_malformed(body):
    with pytest.raises(MalformedError):
        parse(body)
