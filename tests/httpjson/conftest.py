"""What the tests of HTTP calls may ask for: a real server with answers by script."""

from tests.http_server import http, http_server

__all__ = ["http", "http_server"]
