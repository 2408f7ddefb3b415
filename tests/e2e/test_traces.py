"""One answer is one trace, whichever processes it passed; in Sentry too."""

import pytest

from tests.http_server import hang
from tests.stack.accounts import HASTY
from tests.stack.stack import Stack
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

ENVIRON = {"SENTRY_TRACES_PERCENT": "100"}


@pytest.fixture(scope="module")
def answered(stack: Stack) -> str:
    """Return the conversation of a customer whose burst was answered, and whose spans came."""
    anna = stack.customer(HASTY)
    anna.writes(*anna.lines("Hi", "are you open?"))
    anna.wait_for_answers()
    conversation_id = stack.ledger.conversation_id(anna)
    # Each comes after its parts, and once both of web and worker have sent what waited.
    last = {"receive", "wait", "flush", "generate", "send", "answer"}
    eventually(lambda: last <= names(stack, conversation_id).keys(), what="the spans")
    return conversation_id


def names(stack: Stack, conversation_id: str) -> dict[str, str]:
    """Return by name the roles of the spans of a conversation."""
    own = [it for it in stack.collector.spans if conversation_id in it.about.values()]
    return {it.name: it.role for it in own}


def test_answer_is_one_trace_over_web_and_worker(stack: Stack, answered: str) -> None:
    mine = [it for it in stack.collector.spans if answered in it.about.values()]
    (trace,) = {it.trace for it in mine}
    spans = [it for it in stack.collector.spans if it.trace == trace]
    (whole,) = [it for it in spans if not it.parent]
    above = {it.id: it.name for it in spans}

    found = {(it.name, above[it.parent], it.role) for it in spans if it.parent}

    assert whole.name == "answer"
    assert whole.about["ai_admin.state"] == "answered"
    assert found >= {
        ("receive", "answer", "web"),
        ("wait", "answer", "worker"),
        ("flush", "answer", "worker"),
        ("generate", "answer", "worker"),
        ("ledger begin", "generate", "worker"),
        ("generation", "generate", "worker"),
        ("ledger checkpoint", "generate", "worker"),
        ("send", "answer", "worker"),
        ("ledger mark_sending", "send", "worker"),
        ("sending", "send", "worker"),
        ("ledger mark_sent", "send", "worker"),
        ("ledger finish", "send", "worker"),
    }
    assert {it.name for it in spans if it.failed} == set()
    longest = max(spans, key=lambda it: it.ms)
    assert longest is whole


def test_sentry_has_the_same_spans_in_the_same_trace(stack: Stack, answered: str) -> None:
    (trace,) = {it.trace for it in stack.collector.spans if answered in it.about.values()}
    spans = [it for it in stack.collector.spans if it.trace == trace]

    def sent() -> list[str]:
        kept = stack.sentry.of_kind("transaction")
        mine = [it for it in kept if it["contexts"]["trace"]["trace_id"] == trace]
        return [
            # Falcon's integration calls each after the address.
            *(str(it["contexts"]["trace"]["op"]) for it in mine),
            *(str(span["op"]) for it in mine for span in it["spans"]),
        ]

    eventually(lambda: len(sent()) >= len(spans), what="Sentry's spans")
    assert sorted(sent()) == sorted(it.name for it in spans)


def test_collector_that_hangs_costs_customers_nothing(stack: Stack) -> None:
    stack.collector.answer(*[hang] * 100)
    boris = stack.customer(HASTY)
    boris.writes(boris.line("Hi"))
    boris.wait_for_answers()

    # While both still wait for it, the web by greenlets, the worker by a thread.
    eventually(
        lambda: all("traces.lost" in stack.processes[it].log() for it in ("web", "worker")),
        what="both to give spans up",
    )
    boris.writes(boris.line("and tomorrow?"))
    assert len(boris.wait_for_answers(2)) == 2
