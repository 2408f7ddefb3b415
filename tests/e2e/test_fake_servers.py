"""The fakes fail in just the ways they are told to, or the tests that use them prove nothing."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.e2e.behaviours import Answer, Drip, Hang, Hold, Reset
from tests.e2e.fake_graph import FakeGraph, Sent, graph_error
from tests.e2e.fake_openai import FakeOpenAI, completion
from tests.e2e.waiting import eventually, in_background

CUSTOMER = "79990000001"
TEXT = {
    "to": CUSTOMER,
    "type": "text",
    "text": {"body": "Yes, at three."},
    "biz_opaque_callback_data": "aa:c_1:7:0",
}


@pytest.fixture
def graph() -> Iterator[FakeGraph]:
    server = FakeGraph()
    yield server
    server.close()


@pytest.fixture
def openai() -> Iterator[FakeOpenAI]:
    server = FakeOpenAI()
    yield server
    server.close()


def post(server: FakeGraph | FakeOpenAI, body: object, *, read_s: float = 5) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v25.0/1001/messages", json=body, timeout=read_s)


def ask(openai: FakeOpenAI, turn: str) -> str:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": turn}]
    answer = httpx2.post(f"{openai.base_url}/chat/completions", json={"messages": messages})
    return str(answer.json()["choices"][0]["message"]["content"])


def test_graph_takes_a_text_and_gives_each_an_id_of_its_own(graph: FakeGraph) -> None:
    ids = [post(graph, TEXT).json()["messages"][0]["id"] for _ in range(2)]

    assert ids == ["wamid.OUT1", "wamid.OUT2"]
    assert graph.sent_to(CUSTOMER) == [Sent("1001", CUSTOMER, "Yes, at three.", "aa:c_1:7:0")] * 2


def test_scripted_refusal_is_for_its_customer_alone_and_for_once(graph: FakeGraph) -> None:
    graph.script(CUSTOMER, graph_error(131056, status=429))

    neighbour = post(graph, TEXT | {"to": "79990000002"})
    refused, taken = post(graph, TEXT), post(graph, TEXT)

    assert [neighbour.status_code, refused.status_code, taken.status_code] == [200, 429, 200]
    assert refused.json()["error"]["code"] == 131056


def test_reading_mark_is_not_counted_as_a_text(graph: FakeGraph) -> None:
    answer = post(graph, {"status": "read", "message_id": "wamid.IN1"})

    assert answer.json() == {"success": True}
    assert graph.sent_to(CUSTOMER) == []


def test_hanging_server_has_the_request_and_gives_no_answer(graph: FakeGraph) -> None:
    graph.script(CUSTOMER, Hang())

    with pytest.raises(httpx2.ReadTimeout):
        post(graph, TEXT, read_s=0.3)

    assert len(graph.sent_to(CUSTOMER)) == 1


def test_reset_comes_after_the_request_was_received(graph: FakeGraph) -> None:
    graph.script(CUSTOMER, Reset())

    with pytest.raises(httpx2.ReadError, match="reset"):
        post(graph, TEXT)

    assert len(graph.sent_to(CUSTOMER)) == 1


def test_dripping_server_keeps_every_single_read_alive(graph: FakeGraph) -> None:
    """A limit per read never ends such a call; only a total deadline does."""
    graph.script(CUSTOMER, Drip())

    with httpx2.stream("POST", f"{graph.url}/v25.0/1/messages", json=TEXT, timeout=5) as answer:
        chunks = answer.iter_raw()
        received = [next(chunks) for _ in range(5)]

    assert {byte for chunk in received for byte in chunk} == {ord(" ")}


def test_garbage_is_sent_as_it_is(graph: FakeGraph) -> None:
    graph.script(CUSTOMER, Answer(body=b"<html>"))

    assert post(graph, TEXT).content == b"<html>"


def test_model_echoes_the_turn_unless_told_otherwise(openai: FakeOpenAI) -> None:
    openai.script("Q00002", completion("Closed."))

    assert ask(openai, "Hi Q00001\nOpen today?") == "Answer to: Hi Q00001\nOpen today?"
    assert ask(openai, "And tomorrow? Q00002") == "Closed."
    assert openai.turns_of("Q00001") == ["Hi Q00001\nOpen today?"]


def test_held_answer_leaves_when_it_is_released(openai: FakeOpenAI) -> None:
    hold = Hold()
    openai.script("Q00001", hold)

    with in_background(lambda: ask(openai, "Hi Q00001")) as answer:
        request = eventually(lambda: openai.requests_of("Q00001"))[0]
        was_held = request.done_ns == 0 and not answer.done()
        hold.released.set()

    assert was_held
    assert answer.result() == "Answer to: Hi Q00001"
