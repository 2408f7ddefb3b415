"""Customers of two businesses who write in bursts, all the time."""

import itertools
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tests.chaos.meta import Meta, Offer
from tests.stack.accounts import BusinessNumber
from tests.webhooks import body, change, text_message

#: The businesses: one notifies a person of a text in doubt, another sends it once more, the third
#: makes answers anew. All wait two seconds for WhatsApp and for the model.
SALON = BusinessNumber("salon", "100001", {"timeout_ms": 2_000}, {"timeout_ms": 2_000})
RESENDING = BusinessNumber(
    "resending", "100006", {"ambiguous": "resend", "timeout_ms": 2_000}, {"timeout_ms": 2_000}
)
EAGER = BusinessNumber(
    "eager",
    "100007",
    {"on_new_message": "supersede", "timeout_ms": 2_000},
    {"timeout_ms": 2_000},
)
BUSINESSES = (SALON, RESENDING, EAGER)

CUSTOMERS = 40
#: With four more digits an invented number.
CUSTOMER_PREFIX = "7999000"
BURST_MAX = 4
#: Between two messages of a burst, in seconds.
TYPING_S_MAX = 0.3
#: Of so many bursts one shares its first webhook with another customer's message.
SHARED_EVERY = 10
#: Of so many messages one is a reaction, which asks for no answer.
SILENT_EVERY = 40


class Load:
    """Has customers write ``bursts_per_s`` bursts a second until it is stopped.

    ``words``: numbers for words that were not written yet.
    """

    def __init__(
        self,
        meta: Meta,
        rng: random.Random,
        *,
        bursts_per_s: float,
        businesses: Sequence[BusinessNumber] = BUSINESSES,
        words: Iterator[int] | None = None,
    ) -> None:
        self._meta = meta
        self._rng = rng
        self._businesses = businesses
        self._words = words or itertools.count(1)
        self._pause_s = 1 / bursts_per_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Begin no further burst."""
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._over.wait(self._rng.expovariate(1 / self._pause_s)):
            business = self._rng.choice(self._businesses)
            customer = self._customer()
            after_s = 0.0
            for n in range(self._rng.randint(1, BURST_MAX)):
                messages = [self._message(business, customer)]
                if n == 0 and self._rng.random() * SHARED_EVERY < 1:
                    messages.append(self._message(business, self._customer()))
                self._deliver(business, messages, after_s)
                after_s += self._rng.uniform(0.0, TYPING_S_MAX)

    def react(self) -> None:
        """Have a customer react to something, which asks for no answer."""
        business = self._rng.choice(self._businesses)
        message = self._message(business, self._customer(), is_silent=True)
        self._deliver(business, [message], 0.0)

    def _deliver(
        self, business: BusinessNumber, messages: list[tuple[dict[str, Any], Offer]], after_s: float
    ) -> None:
        items, offers = zip(*messages, strict=True)
        content = body(change(*items, number=business.phone_number_id))
        self._meta.deliver(content, offers, after_s=after_s)

    def _message(
        self, business: BusinessNumber, customer: str, *, is_silent: bool = False
    ) -> tuple[dict[str, Any], Offer]:
        word = f"m{next(self._words)}"
        silent = is_silent or self._rng.random() * SILENT_EVERY < 1
        item = text_message(f"wamid.{word}", word, customer)
        if silent:
            reaction = {"message_id": "wamid.OUT1", "emoji": "\N{THUMBS UP SIGN}"}
            item |= {"type": "reaction", "reaction": reaction}
            del item["text"]
        return item, Offer(business.account_id, customer, word, silent)

    def _customer(self) -> str:
        """Return a customer's number; the two businesses have their customers in common."""
        return f"{CUSTOMER_PREFIX}{self._rng.randrange(CUSTOMERS):04}"
