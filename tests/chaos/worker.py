"""A worker that fails where a test armed a point: ``dramatiq tests.chaos.worker:main``."""

import actors
from tests.chaos.failing import fail_where_armed


def main() -> None:
    """Build this worker process as production does."""
    fail_where_armed()
    actors.main()
