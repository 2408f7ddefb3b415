"""A web process that fails where a test armed a point: ``gunicorn tests.chaos.web:application``."""

from tests.chaos.failing import fail_where_armed

fail_where_armed()

from wsgi import application  # noqa: E402 - it builds when imported

__all__ = ["application"]
