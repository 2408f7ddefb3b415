"""The world outside: the model's and WhatsApp's servers behind one address, which knows callers."""

from typing import Any

from tests.chaos.fake_server import Caller, FakeServer
from tests.chaos.graph import ChaosGraph
from tests.chaos.model import ChaosModel
from tests.e2e.behaviours import Answer


class Outside(FakeServer):
    """Serves ``model`` and ``graph``."""

    def __init__(
        self, model: ChaosModel, graph: ChaosGraph, address: tuple[str, int] = ("127.0.0.1", 0)
    ) -> None:
        self._model = model
        self._graph = graph
        super().__init__(address)

    def answer_to(self, path: str, body: Any, caller: Caller) -> Answer | None:
        if path.endswith("/chat/completions"):
            return self._model.answer_to(body, caller)
        return self._graph.answer_to(path, body, caller)
