"""What the tests of the channels may ask for: a real HTTP server with answers by script."""

from tests.http_server import http, http_server

__all__ = ["http", "http_server"]
