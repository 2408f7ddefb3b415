"""A scheduler that fails where a test armed a point: ``python -m tests.chaos.scheduler``."""

from scheduler.__main__ import main
from tests.chaos.failing import fail_where_armed

if __name__ == "__main__":
    fail_where_armed()
    main()
