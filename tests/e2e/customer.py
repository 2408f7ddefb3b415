"""A customer of the end-to-end tests: writes, is answered, and leaves nothing in a log."""

from dataclasses import dataclass, field
from http import HTTPStatus

import httpx2

from tests.e2e import webhooks
from tests.e2e.accounts import BusinessNumber
from tests.e2e.fake_graph import FakeGraph, Sent
from tests.e2e.fake_openai import FakeOpenAI
from tests.e2e.waiting import eventually


@dataclass(slots=True)
class Customer:
    """One customer of one account. ``mark`` is in all that they write, and in no one else's text.

    The fakes know them by it: script the model by ``mark``, Graph by ``number``.
    """

    account: BusinessNumber
    number: str
    mark: str
    web: httpx2.Client
    graph: FakeGraph
    openai: FakeOpenAI
    _written: int = field(default=0)

    def line(self, text: str) -> str:
        """Return ``text`` as this customer writes it."""
        return f"{text} {self.mark}"

    def lines(self, *texts: str) -> list[str]:
        """Return several texts as this customer writes them."""
        return [self.line(text) for text in texts]

    def delivers(self, text: str, message_id: str = "") -> httpx2.Response:
        """Have Meta deliver a message and return what we answered; the id is new unless given."""
        self._written += 1
        message_id = message_id or f"wamid.{self.mark}-{self._written}"
        item = webhooks.text_message(self.number, message_id, text)
        return webhooks.post(
            self.web, webhooks.envelope(self.account.phone_number_id, messages=[item])
        )

    def writes(self, *texts: str) -> None:
        """Have Meta deliver messages one after the other; each must be acknowledged."""
        for text in texts:
            response = self.delivers(text)
            assert response.status_code == HTTPStatus.OK, response.text

    def status(self, sent: Sent, state: str, *errors: int) -> None:
        """Have Meta tell what became of a text of ours."""
        item = webhooks.status(f"wamid.late-{self.mark}", state, sent.tag, *errors)
        body = webhooks.envelope(self.account.phone_number_id, statuses=[item])
        response = webhooks.post(self.web, body)
        assert response.status_code == HTTPStatus.OK, response.text

    @property
    def turns(self) -> list[str]:
        """Return what the model was asked about this customer, once for each call."""
        return self.openai.turns_of(self.mark)

    @property
    def offered(self) -> list[Sent]:
        """Return every text for this customer that reached Graph, taken or not."""
        sent = self.graph.sent_to(self.number)
        return [text for text in sent if text.phone_number_id == self.account.phone_number_id]

    @property
    def replies(self) -> list[str]:
        """Return the texts of ``offered``."""
        return [sent.text for sent in self.offered]

    def wait_for_turns(self, times: int = 1) -> list[str]:
        """Wait for so many calls of the model and return the turns of all of them."""
        eventually(lambda: len(self.turns) >= times, what=f"{times} calls of the model")
        return self.turns

    def wait_for_answers(self, times: int = 1) -> list[str]:
        """Wait for so many replies and return all of them."""
        eventually(lambda: len(self.replies) >= times, what=f"{times} replies")
        return self.replies
