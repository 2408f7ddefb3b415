"""One installation for each module of tests, and what must hold after every single test."""

from collections.abc import Iterator

import pytest

from tests.processes import Guard
from tests.stack.accounts import SECRETS
from tests.stack.stack import PRIVACY_KEY, Stack, running


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, valkey_binary: str, guard: Guard) -> Iterator[Stack]:
    """Return a running installation; a module's ENVIRON goes over the usual settings."""
    environ = getattr(request.module, "ENVIRON", None)
    with running(Stack(valkey_binary, guard, environ)) as installation:
        yield installation


@pytest.fixture(autouse=True)
def _aftermath(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test did: every message is accounted for, and nothing of a customer leaks."""
    yield
    if "stack" not in request.fixturenames:
        return
    stack: Stack = request.getfixturevalue("stack")
    stack.ledger.check_counters()
    secrets = {PRIVACY_KEY, *SECRETS.values(), *stack.canaries}
    secrets |= {word for person in stack.customers for word in (person.number, person.mark)}
    assert [
        f"{secret} in {name}"
        for name, text in stack.traces().items()
        for secret in sorted(secrets)
        if secret in text
    ] == []
