"""The fakes fail in just the ways that a test asks for."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.http_server import Hold, Reply, drip, hang, reset
from tests.outside import ModelApi, Outside, ProviderApi, Sent, completion, graph_error
from tests.waiting import eventually, in_background

CUSTOMER = "79990000001"
TEXT = {
    "to": CUSTOMER,
    "type": "text",
    "text": {"body": "Yes, at three."},
    "biz_opaque_callback_data": "aa:c_1:7:0",
}


@pytest.fixture
def model() -> ModelApi:
    return ModelApi()


@pytest.fixture
def provider() -> ProviderApi:
    return ProviderApi()


@pytest.fixture
def url(model: ModelApi, provider: ProviderApi) -> Iterator[str]:
    server = Outside(model, provider)
    yield server.url
    server.close()


def post(url: str, body: object, *, read_s: float = 5) -> httpx2.Response:
    return httpx2.post(f"{url}/v25.0/1001/messages", json=body, timeout=read_s)


def ask(url: str, turn: str) -> str:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": turn}]
    answer = httpx2.post(f"{url}/v1/chat/completions", json={"messages": messages})
    return str(answer.json()["choices"][0]["message"]["content"])


def test_graph_takes_a_text_and_gives_each_an_id_of_its_own(
    url: str, provider: ProviderApi
) -> None:
    ids = [post(url, TEXT).json()["messages"][0]["id"] for _ in range(2)]

    assert ids == ["wamid.OUT1", "wamid.OUT2"]
    assert (
        provider.sent_to(CUSTOMER) == [Sent("1001", CUSTOMER, "Yes, at three.", "aa:c_1:7:0")] * 2
    )


def test_scripted_refusal_is_for_its_customer_alone_and_for_once(
    url: str, provider: ProviderApi
) -> None:
    provider.answer(graph_error(131056, status=429), to=CUSTOMER)

    neighbour = post(url, TEXT | {"to": "79990000002"})
    refused, taken = post(url, TEXT), post(url, TEXT)

    assert [neighbour.status_code, refused.status_code, taken.status_code] == [200, 429, 200]
    assert refused.json()["error"]["code"] == 131056


def test_reading_mark_is_not_counted_as_a_text(url: str, provider: ProviderApi) -> None:
    answer = post(url, {"status": "read", "message_id": "wamid.IN1"})

    assert answer.json() == {"success": True}
    assert provider.sent_to(CUSTOMER) == []


def test_hanging_server_has_the_request_and_gives_no_answer(
    url: str, provider: ProviderApi
) -> None:
    provider.answer(hang, to=CUSTOMER)

    with pytest.raises(httpx2.ReadTimeout):
        post(url, TEXT, read_s=0.3)

    assert len(provider.sent_to(CUSTOMER)) == 1


def test_reset_comes_after_the_request_was_received(url: str, provider: ProviderApi) -> None:
    provider.answer(reset, to=CUSTOMER)

    with pytest.raises(httpx2.ReadError, match="reset"):
        post(url, TEXT)

    assert len(provider.sent_to(CUSTOMER)) == 1


def test_dripping_server_keeps_every_single_read_alive(url: str, provider: ProviderApi) -> None:
    """A limit per read never ends such a call; only a total deadline does."""
    provider.answer(drip(b"HTTP/1.1 200 OK\r\n\r\n", b" "), to=CUSTOMER)

    with httpx2.stream("POST", f"{url}/v25.0/1/messages", json=TEXT, timeout=5) as answer:
        chunks = answer.iter_raw()
        received = [next(chunks) for _ in range(5)]

    assert {byte for chunk in received for byte in chunk} == {ord(" ")}


def test_garbage_is_sent_as_it_is(url: str, provider: ProviderApi) -> None:
    provider.answer(Reply(body=b"<html>"), to=CUSTOMER)

    assert post(url, TEXT).content == b"<html>"


def test_model_echoes_the_turn_unless_told_otherwise(url: str, model: ModelApi) -> None:
    model.answer(completion("Closed."), to="Q00002")

    assert ask(url, "Hi Q00001\nOpen today?") == "Answer to: Hi Q00001\nOpen today?"
    assert ask(url, "And tomorrow? Q00002") == "Closed."
    assert model.turns_of("Q00001") == ["Hi Q00001\nOpen today?"]


def test_held_answer_leaves_when_it_is_released(url: str, model: ModelApi) -> None:
    hold = Hold()
    model.answer(hold, to="Q00001")

    with in_background(lambda: ask(url, "Hi Q00001")) as answer:
        request = eventually(lambda: model.requests_of("Q00001"))[0]
        was_held = request.done_ns == 0 and not answer.done()
        hold.released.set()

    assert was_held
    assert answer.result() == "Answer to: Hi Q00001"
