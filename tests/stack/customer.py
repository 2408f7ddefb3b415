"""A customer of an installation: writes, is answered, and leaves nothing in a log."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx2

from tests.outside import ModelApi, ProviderApi, Sent
from tests.stack.accounts import BusinessNumber
from tests.waiting import eventually
from tests.webhooks import APP_SECRET, body, change, gateway_message, post, status, text_message


@dataclass(slots=True)
class Customer:
    """One customer of one account. ``mark`` is in all that they write, and in no one else's text.

    The fakes know them by it: script the model for ``mark``, the provider for ``number``.
    """

    account: BusinessNumber
    number: str
    mark: str
    web: httpx2.Client
    model: ModelApi
    provider: ProviderApi
    _written: int = field(default=0)

    @property
    def customer_id(self) -> str:
        """Return the id by which the provider names the customer."""
        return f"{self.number}@c.us" if self.account.channel == "venom" else self.number

    def line(self, text: str) -> str:
        return f"{text} {self.mark}"

    def lines(self, *texts: str) -> list[str]:
        return [self.line(text) for text in texts]

    def delivers(self, text: str, message_id: str = "") -> httpx2.Response:
        """Have the provider deliver a message; return our answer. The id is new unless given."""
        self._written += 1
        message_id = message_id or f"wamid.{self.mark}-{self._written}"
        if self.account.channel == "venom":
            item = gateway_message(message_id, text, self.number)
            path = f"/webhooks/venom/{self.account.account_id}"
            return self.web.post(path, json=item, headers={"X-Webhook-Secret": APP_SECRET})
        return self.delivers_item(text_message(message_id, text, self.number))

    def delivers_item(self, item: dict[str, Any], **value: object) -> httpx2.Response:
        """Have Meta deliver a message as it is, with ``value`` beside it."""
        return self._delivers(change(item, number=self.account.phone_number_id, **value))

    def writes(self, *texts: str) -> None:
        """Have Meta deliver messages one after the other; each must be acknowledged."""
        for text in texts:
            response = self.delivers(text)
            assert response.status_code == HTTPStatus.OK, response.text

    def report(self, sent: Sent, state: str, *errors: int) -> None:
        """Have Meta deliver a status of one of our texts."""
        item = status(f"wamid.late-{self.mark}", state, sent.tag, *errors)
        response = self._delivers(change(number=self.account.phone_number_id, statuses=[item]))
        assert response.status_code == HTTPStatus.OK, response.text

    def _delivers(self, change_: dict[str, Any]) -> httpx2.Response:
        return post(self.web, body(change_))

    @property
    def turns(self) -> list[str]:
        """Return what the model was asked about this customer, once for each call."""
        return self.model.turns_of(self.mark)

    @property
    def offered(self) -> list[Sent]:
        """Return every text for this customer that reached the provider, taken or not."""
        sent = self.provider.sent_to(self.number)
        return [text for text in sent if text.phone_number_id == self.account.phone_number_id]

    @property
    def replies(self) -> list[str]:
        return [sent.text for sent in self.offered]

    def wait_for_turns(self, times: int = 1) -> list[str]:
        """Wait for so many calls of the model and return the turns of all of them."""
        eventually(lambda: len(self.turns) >= times, what=f"{times} calls of the model")
        return self.turns

    def wait_for_answers(self, times: int = 1) -> list[str]:
        """Wait for so many replies and return all of them."""
        eventually(lambda: len(self.replies) >= times, what=f"{times} replies")
        return self.replies
