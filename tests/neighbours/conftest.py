"""An installation with one worker process, and the end-to-end tests' checks after each test."""

from tests.e2e.conftest import _aftermath, pytest_runtest_makereport, stack

__all__ = ["_aftermath", "pytest_runtest_makereport", "stack"]
