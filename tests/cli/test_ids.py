"""A customer's number is not typed on a command line, which sudo, systemd, shells and ps show."""

import os
import pty
from base64 import b64encode
from collections.abc import Sequence

import pytest

from cli.common import NOTICE
from tests.batching.world import ANNA, World
from tests.cli.conftest import CANARY, Answer, Operator

#: As WhatsApp makes them: who wrote stands in it.
WAMID = f"wamid.{b64encode(f'HBgL{ANNA}FQ'.encode()).decode()}"
BY_CUSTOMER = ("--customer", "-", "--account", "salon")


def fed(operator: Operator, typed: bytes, *arguments: str) -> Answer:
    """Run a verb with ``typed`` on its standard input, which ends then."""
    reader, writer = os.pipe()
    os.write(writer, typed)
    os.close(writer)
    answer = operator.process(*arguments, stdin=reader)
    os.close(reader)
    return answer


@pytest.mark.parametrize(
    ("arguments", "typed", "found"),
    [
        (("trace", *BY_CUSTOMER), ANNA, "began to collect"),
        (("trace", *BY_CUSTOMER), "  +7 999 000-00-01\r", "began to collect"),
        (("trace", "--customer", "--account", "salon"), ANNA, "began to collect"),
        (("trace", "-"), WAMID, "began to collect"),
        (("erase", *BY_CUSTOMER, "--yes"), ANNA, "Erased: "),
        (("erase", "--account", "salon", "--yes", "--customer"), ANNA, "Erased: "),
    ],
)
def test_id_is_read_from_standard_input(
    world: World, operator: Operator, arguments: Sequence[str], typed: str, found: str
) -> None:
    world.receive(world.message(CANARY, message_id=WAMID))

    answer = fed(operator, f"{typed}\n".encode(), *arguments)

    assert found in answer.out
    assert NOTICE not in answer.err


@pytest.mark.parametrize("arguments", [("trace", *BY_CUSTOMER), ("trace", "-")])
@pytest.mark.parametrize("typed", [b"", b"\n", b" \n", b"\xff\xfe\n", b"1" * 1_001, b"1\x1b[2J\n"])
def test_what_is_no_id_is_refused_and_not_repeated(
    world: World, operator: Operator, arguments: Sequence[str], typed: bytes
) -> None:
    world.write(CANARY)

    answer = fed(operator, typed, *arguments)

    assert (answer.status, answer.out) == (2, "")
    assert answer.err.endswith("standard input must bring an id of 1..1000 characters\n")
    assert "111" not in answer.err


def test_terminal_is_asked_for_the_number_and_then_whether_it_is_meant(
    world: World, operator: Operator
) -> None:
    world.write(CANARY)
    ours, theirs = pty.openpty()
    os.write(ours, f"{ANNA}\ny\n".encode())

    done = operator.process("erase", *BY_CUSTOMER, stdin=theirs)

    os.close(theirs)
    os.close(ours)
    assert done.err.startswith("The customer's id: ")
    assert (done.status, world.counts().get("open", 0)) == (0, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        f"trace --customer {ANNA} --account salon",
        f"trace --customer {ANNA}@c.us --account salon",
        f"erase --customer {ANNA} --account salon --yes",
        f"trace {WAMID}",
        f"trace false_{ANNA}@c.us_3EB0",
        f"trace call-{ANNA}",
    ],
)
def test_number_as_an_argument_is_taken_with_a_notice(
    world: World, operator: Operator, arguments: str
) -> None:
    world.write(CANARY)

    answer = operator(*arguments.split())

    assert answer.err.count(f"{NOTICE}\n") == 1


@pytest.mark.parametrize("arguments", ["trace c_{0}", "erase c_{0} --yes", "trace id-1"])
def test_id_that_tells_no_number_earns_no_notice(
    world: World, operator: Operator, arguments: str
) -> None:
    world.write(CANARY)

    answer = operator(*arguments.format("0" * 24).split())

    assert NOTICE not in answer.err
