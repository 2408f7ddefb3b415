"""What the tests of the wire may ask for: a real HTTP server that is told what to answer."""

from tests.http_server import http, http_server

__all__ = ["http", "http_server"]
