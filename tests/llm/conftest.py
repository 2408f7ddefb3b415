"""What the tests of the models may ask for: a prompt, and a real HTTP server to ask."""

import pytest

from llm.prompt import Prompt
from tests.http_server import http, http_server

__all__ = ["http", "http_server", "prompt"]


@pytest.fixture
def prompt() -> Prompt:
    """Return the prompt of an invented salon."""
    return Prompt(business="Haircut: 35 EUR", language="en", timezone="Europe/Berlin")
