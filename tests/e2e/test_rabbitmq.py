"""The same story with RabbitMQ as the broker: the ledger does not notice the difference."""

from collections.abc import Iterator

import pytest

from tests.e2e.test_rapid_fire import (  # noqa: F401 - collected here too, over the other broker
    test_many_customers_at_once_get_one_answer_each,
    test_messages_during_a_generation_are_the_next_batch_and_wait_for_this_one,
    test_three_rapid_messages_are_one_question_and_one_answer,
)
from tests.processes import Guard
from tests.rabbitmq_server import RabbitMQServer
from tests.stack.stack import Stack, running

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def stack(rabbitmq: RabbitMQServer, valkey_binary: str, guard: Guard) -> Iterator[Stack]:
    with running(Stack(valkey_binary, guard, {"BROKER_URL": rabbitmq.url})) as installation:
        yield installation


def test_messages_accepted_while_the_broker_was_gone_are_answered(
    stack: Stack, rabbitmq: RabbitMQServer
) -> None:
    anna = stack.customer()
    rabbitmq.kill()

    anna.writes(anna.line("Hi"))
    rabbitmq.start()

    assert anna.wait_for_answers() == [anna.line("Answer to: Hi")]
