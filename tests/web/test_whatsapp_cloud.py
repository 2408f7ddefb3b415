import hashlib
import hmac
import json
import logging

import falcon.testing
import pytest

from batching.inspect import counters
from runtime.build import Runtime
from tests.webhooks import (
    APP_SECRET,
    BARBER_NUMBER,
    CLOUD,
    NEXT_SECRET,
    OTHER_SECRET,
    Caller,
    body,
    change,
    code,
    counts,
    signature,
    text_message,
)

VERIFY = {
    "hub.mode": "subscribe",
    "hub.verify_token": "c4d8a1f7e2b90365c4d8a1f7e2b90365",
    "hub.challenge": "1158201444",
}
RAW = json.dumps(body(change(text_message()))).encode()
#: What Meta's older header would carry: a true sum, by an algorithm that is not trusted any more.
SHA1 = "sha1=" + hmac.new(APP_SECRET.encode(), RAW, hashlib.sha1).hexdigest()


def accepted(runtime: Runtime) -> int:
    return sum(balance.accepted for balance in counters(runtime.store))


@pytest.mark.parametrize(
    "token", ["c4d8a1f7e2b90365c4d8a1f7e2b90365", "d5e9b2a8f3c01476d5e9b2a8f3c01476"]
)
def test_challenge_is_returned_for_the_verify_token_of_any_account(
    http: falcon.testing.TestClient, token: str
) -> None:
    result = http.simulate_get(CLOUD, params=VERIFY | {"hub.verify_token": token})

    assert (result.status_code, result.text) == (200, "1158201444")
    assert result.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    "wrong",
    [
        {"hub.verify_token": "guess"},
        {"hub.verify_token": ""},
        {"hub.verify_token": "жетон"},
        {"hub.mode": "unsubscribe"},
        {"hub.mode": ""},
    ],
)
def test_challenge_is_refused_to_others(
    http: falcon.testing.TestClient, wrong: dict[str, str]
) -> None:
    result = http.simulate_get(CLOUD, params=VERIFY | wrong)

    assert code(result) == (403, "verify_token")


def test_signed_message_is_in_the_ledger_when_it_is_acknowledged(
    caller: Caller, runtime: Runtime
) -> None:
    result = caller.cloud(body(change(text_message())))

    assert (result.status_code, result.json) == (200, counts(accepted=1))
    assert accepted(runtime) == 1


def test_message_delivered_again_is_acknowledged_and_counted_once(
    caller: Caller, runtime: Runtime
) -> None:
    caller.cloud(body(change(text_message())))

    result = caller.cloud(body(change(text_message())))

    assert (result.status_code, result.json) == (200, counts(duplicate=1))
    assert accepted(runtime) == 1


def test_second_secret_is_valid_while_the_first_still_is(caller: Caller) -> None:
    """Meta signs with the new secret from one moment to the next: both must be known before."""
    result = caller.cloud(body(change(text_message())), secret=NEXT_SECRET)

    assert result.status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        {"X-Hub-Signature-256": "sha1=" + "0" * 40},
        {"X-Hub-Signature-256": "sha256=é"},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": signature(RAW)[:-1]},
        {"X-Hub-Signature-256": signature(RAW) + "0"},
        {"X-Hub-Signature-256": signature(RAW).removeprefix("sha256=")},
        {"X-Hub-Signature-256": signature(RAW, "a secret of nobody's")},
        {"X-Hub-Signature-256": signature(RAW, "")},
        {"X-Hub-Signature-256": signature(RAW + b" ")},
        {"X-Hub-Signature": SHA1},
        {"X-Hub-Signature-256": SHA1},
    ],
)
def test_body_without_a_valid_signature_is_refused(
    caller: Caller, runtime: Runtime, header: dict[str, str]
) -> None:
    result = caller.raw(CLOUD, RAW, header)

    assert code(result) == (401, "signature")
    assert accepted(runtime) == 0


def test_signature_is_of_the_bytes_as_received(caller: Caller) -> None:
    """Meta escapes what a serialiser of ours would not: only the raw bytes give the same sum."""
    raw = rb'{ "entry" : [ ] , "object":"\u00e4\u0436" }'

    result = caller.raw(CLOUD, raw, {"X-Hub-Signature-256": signature(raw)})

    assert result.status_code == 200


def test_signature_of_the_same_json_written_otherwise_is_refused(
    caller: Caller, runtime: Runtime
) -> None:
    """Equal JSON, other bytes: who signs what we would have written has not seen the body."""
    raw = json.dumps(body(change(text_message(text="grüße 🙂"))), ensure_ascii=False).encode()
    rewritten = json.dumps(json.loads(raw)).encode()

    result = caller.raw(CLOUD, raw, {"X-Hub-Signature-256": signature(rewritten)})

    assert json.loads(rewritten) == json.loads(raw)
    assert code(result) == (401, "signature")
    assert accepted(runtime) == 0


def test_first_secret_is_valid_while_the_second_already_is(caller: Caller) -> None:
    assert caller.cloud(body(change(text_message())), secret=APP_SECRET).status_code == 200


def test_app_cannot_write_into_an_account_of_another_app(caller: Caller, runtime: Runtime) -> None:
    result = caller.cloud(body(change(text_message())), secret=OTHER_SECRET)

    assert code(result) == (404, "unknown_account")
    assert accepted(runtime) == 0


def test_item_for_another_apps_account_does_not_fail_its_neighbour(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    mixed = body(
        change(text_message("wamid.1"), number=BARBER_NUMBER), change(text_message("wamid.2"))
    )

    with caplog.at_level(logging.WARNING):
        result = caller.cloud(mixed)

    assert (result.status_code, result.json) == (200, counts(accepted=1, unknown_account=1))
    assert "webhook.unknown_account" in caplog.messages


def test_body_for_unknown_numbers_alone_is_not_found(caller: Caller) -> None:
    result = caller.cloud(body(change(text_message(), number="100000000000009")))

    assert code(result) == (404, "unknown_account")


def test_item_that_cannot_be_read_does_not_fail_its_neighbours(caller: Caller) -> None:
    result = caller.cloud(body(change("no object", text_message(), {"id": "wamid.2"})))

    assert result.status_code == 200
    assert result.json["accepted"] == 1
    assert result.json["malformed"] == 2


def test_entry_as_an_object_is_a_list_of_one(caller: Caller) -> None:
    as_object = {"entry": {"changes": change(text_message())}}

    assert caller.cloud(as_object).json == counts(accepted=1)


def test_reaction_is_counted_as_suppressed(caller: Caller) -> None:
    reaction = text_message(type="reaction", reaction={"message_id": "wamid.0", "emoji": "👍"})

    assert caller.cloud(body(change(reaction))).json == counts(suppressed=1)


def test_full_conversation_is_refused_and_the_message_taken_later(
    caller: Caller, runtime: Runtime
) -> None:
    """Its id is not recorded with the refusal, so the next delivery is no duplicate."""
    room = runtime.store.timing.waiting_max
    caller.cloud(body(change(*(text_message(f"wamid.{n}") for n in range(room)))))

    refused = caller.cloud(body(change(text_message("wamid.late"))))
    runtime.store.client.flushdb()
    taken = caller.cloud(body(change(text_message("wamid.late"))))

    assert code(refused) == (503, "conversation_full")
    assert refused.headers["Retry-After"] == "5"
    assert taken.json == counts(accepted=1)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused_in_the_same_form(
    http: falcon.testing.TestClient, method: str
) -> None:
    assert code(http.simulate_request(method, CLOUD)) == (405, "method_not_allowed")
