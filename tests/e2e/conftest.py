"""One installation for each module of tests, and what must hold after every single test."""

from collections.abc import Generator, Iterator

import pytest

from tests.e2e import accounts
from tests.e2e.harness import PRIVACY_KEY, Stack, running
from tests.e2e.waiting import eventually
from tests.processes import Guard


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, valkey_binary: str, guard: Guard) -> Iterator[Stack]:
    """Return a running installation; a module's ENVIRON goes over the usual settings."""
    environ = getattr(request.module, "ENVIRON", None)
    with running(Stack(valkey_binary, guard, environ)) as installation:
        yield installation


@pytest.fixture(autouse=True)
def _aftermath(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did: every message is accounted for, and nothing tells about a customer."""
    yield
    if "stack" not in request.fixturenames:
        return
    stack: Stack = request.getfixturevalue("stack")
    eventually(lambda: not stack.books.operations.audit(), what=str(stack.books.operations.audit()))
    assert [book for book in stack.books.operations.balance() if not book.holds or book.lost] == []
    assert _told(stack) == []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes wrote beside the failure."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections.append(("processes", stack.shown()))
    return report


def _told(stack: Stack) -> list[str]:
    """Return who or what can be read where, although it must not be."""
    secrets = {PRIVACY_KEY, *accounts.SECRETS.values(), *stack.canaries}
    secrets |= {word for person in stack.customers for word in (person.number, person.mark)}
    return [
        f"{secret} in {name}"
        for name, text in stack.traces().items()
        for secret in sorted(secrets)
        if secret in text
    ]
