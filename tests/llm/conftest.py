"""What the tests of the models may ask for: a real HTTP server that speaks their dialects."""

import httpx2
import pytest

from tests.http_server import HttpServer, http, http_server
from tests.llm.dialects import DIALECTS, Api

__all__ = ["http", "http_server"]


@pytest.fixture(params=DIALECTS)
def api(request: pytest.FixtureRequest, http: httpx2.Client, http_server: HttpServer) -> Api:
    """Return the API of each dialect in turn, or of the one that a test names as parameter."""
    return Api(DIALECTS[request.param], http, http_server)
