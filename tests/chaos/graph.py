"""WhatsApp's side: takes texts, loses answers, refuses, tells of them later; keeps record."""

import itertools
import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.chaos.fake_server import Caller
from tests.chaos.model import FOR_EVER_S, pause_s
from tests.chaos.record import Record
from tests.e2e.behaviours import Answer
from tests.e2e.fake_graph import graph_error
from tests.history.events import Doubted, Taken

TAKES_S = (0.005, 0.05)
#: How many of ten texts that were taken are told of by a status.
TOLD_OF_TEN = 8

REFUSALS = (
    *(graph_error(131056), graph_error(131056, status=429), graph_error(130429, status=429)),
    *(graph_error(131016, status=500), graph_error(131056), graph_error(131016, status=503)),
    *(graph_error(131026), graph_error(131047)),
)


class ChaosGraph:
    """Takes every text and has ``tell`` send its status; ``mood`` is what it does to most instead.

    ``accounts``: the account of each number of ours. ``tell`` is given the number, the customer's
    number, the id that the text got, and our tag.
    """

    def __init__(
        self,
        record: Record,
        rng: random.Random,
        accounts: Mapping[str, str],
        tell: Callable[[str, str, str, str], None],
    ) -> None:
        self._record = record
        self._rng = rng
        self._accounts = accounts
        self._tell = tell
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self.mood: Callable[[str, dict[str, Any], Caller], Answer | None] | None = None

    def refuses(self, _path: str, _body: dict[str, Any], _caller: Caller) -> Answer | None:
        """Refuse, by one of REFUSALS; nothing is taken."""
        return self._rng.choice(REFUSALS)

    def breaks(self, path: str, body: dict[str, Any], caller: Caller) -> Answer | None:
        """Take the text, or not, and let nobody know which."""
        tag = body["biz_opaque_callback_data"]
        self._record.note(lambda at_ms: Doubted(at_ms, tag))
        chance = self._rng.random()
        if chance > 0.2:
            self._take(path, body, caller)
        if chance > 0.8:
            caller.waits(FOR_EVER_S)
        return Answer(502, {}) if 0.5 < chance < 0.65 else None

    def answer_to(self, path: str, body: Any, caller: Caller) -> Answer | None:
        """Return the answer to a request, None to break off."""
        if body.get("type") != "text":
            return Answer(body={"success": True})
        with self._lock:
            mood = self.mood
        if mood and self._rng.random() < 0.7:
            return mood(path, body, caller)
        # It has the text before it says so: whoever dies in between leaves a doubt.
        wamid = self._take(path, body, caller)
        caller.waits(pause_s(self._rng, TAKES_S))
        return Answer(body={"messaging_product": "whatsapp", "messages": [{"id": wamid}]})

    def _take(self, path: str, body: dict[str, Any], caller: Caller) -> str:
        phone_number_id, customer = path.split("/")[-2], body["to"]
        account = self._accounts[phone_number_id]
        tag, text = body["biz_opaque_callback_data"], body["text"]["body"]
        with self._lock:
            wamid = f"wamid.OUT{next(self._ids)}"
        self._record.note(lambda at_ms: Taken(at_ms, account, customer, tag, text, caller.name))
        if self._rng.random() * 10 < TOLD_OF_TEN:
            self._tell(phone_number_id, customer, wamid, tag)
        return wamid
