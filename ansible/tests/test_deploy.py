"""A service that is put on a bare host, replaced, and wrongly replaced, while customers write."""

import faulthandler
import os
from pathlib import Path

import pytest

from laboratory.prove import prove
from laboratory.scenarios import SHORT

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(
        os.environ.get("TEST_DEPLOY") != "1",
        reason="makes hosts, as root, in minutes: TEST_DEPLOY=1, or make test-deploy for all of it",
    ),
]


def test_customers_notice_nothing_of_a_deploy(tmp_path: Path) -> None:
    """A deploy, a reload and a deploy that must fail cost no webhook and no answer."""
    # It takes minutes: the limit for tests that hang is not meant for it.
    faulthandler.cancel_dump_traceback_later()

    problems = prove("proof", "one", SHORT, tmp_path, seed=1)

    assert problems == []
