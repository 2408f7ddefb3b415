"""What holds for every verb."""

import pytest

from tests.cli.conftest import Operator

CONVERSATION = "c_" + "0" * 24
LOOKING = [
    ("trace", CONVERSATION),
    ("trace", "id-1"),
    ("dead", "list"),
    ("dead", "show", "b1"),
    ("dead", "replay", "b1"),
    ("dead", "discard", "b1", "--yes"),
    ("alerts",),
    ("erase", CONVERSATION, "--yes"),
    ("audit",),
]
named = pytest.mark.parametrize("arguments", LOOKING, ids=" ".join)


@named
def test_verb_without_redis_fails_in_plain_words(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")

    answer = operator(*arguments)

    assert (answer.status, answer.out) == (1, "")
    assert answer.err == "REDIS_URL: does not answer (ConnectionError)\n"


@pytest.mark.parametrize("verb", ["trace", "dead", "alerts", "erase", "audit"])
def test_verb_explains_itself(operator: Operator, verb: str) -> None:
    answer = operator(verb, "--help")

    assert (answer.status, answer.err) == (0, "")
    assert "--json" in answer.out


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("trace", "id-1"), 1), (("dead", "list"), 0), (("alerts",), 0), (("audit",), 0)],
    ids=str,
)
def test_verb_is_a_process_without_a_terminal(
    operator: Operator, arguments: tuple[str, ...], status: int
) -> None:
    answer = operator.process(*arguments)

    assert (answer.status, answer.err) == (status, "")
