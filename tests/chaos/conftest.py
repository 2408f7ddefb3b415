"""What processes wrote is shown beside a failure."""

from collections.abc import Generator

import pytest

from tests.stack.stack import Stack


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for value in getattr(item, "funcargs", {}).values():
        if report.failed and isinstance(value, Stack):
            report.sections.append(("processes", value.shown()))
    return report
