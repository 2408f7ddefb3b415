"""Says of every answer whether it may be: by a small model of what the ledger must then hold."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from batching.alerts import Alerts
from batching.audit import audit
from batching.errors import MalformedError
from batching.inspect import Counters, total
from batching.model import TEXT_CHARACTERS_MAX, InboundMessage, NotUnderstood, decode
from batching.store import Store
from canary import channel as canary
from channels import simulator, venom, whatsapp_cloud
from channels.inbound import Parsed
from tests.fuzz.bodies import MARK, NAME
from tests.fuzz.deliveries import NEIGHBOUR_ID, Delivery
from tests.webhooks import BARBER_NUMBER, SALON_NUMBER
from web.webhooks import BODY_BYTES_MAX, NESTING_MAX

#: A scan of the whole ledger costs four round trips: it follows one body in so many.
AUDIT_EVERY = 20
#: What a request may be refused with; 503 is for a full conversation alone.
REFUSALS = frozenset({400, 401, 403, 404, 405, 408, 411, 413})
NUMBERS = {SALON_NUMBER: "salon", BARBER_NUMBER: "barber"}
#: What only the recorded bodies and the invented words hold.
PRIVATE = (MARK, "7999000", "wamid.", NEIGHBOUR_ID, "Traceback", "Test Customer")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Model:
    """What the ledger must make of messages: each id once, and so many to a conversation.

    ``kept``: what waits, by account and customer, in order.
    """

    def __init__(self, waiting_max: int) -> None:
        self.kept: defaultdict[tuple[str, str], list[InboundMessage]] = defaultdict(list)
        self.suppressed = 0
        self._waiting_max = waiting_max
        self._seen: set[tuple[str, str, str]] = set()
        self._deleted: set[tuple[str, str, str]] = set()

    def take(self, parsed: Parsed) -> Counter[str]:
        """Take the messages of a body; return how many came to what."""
        messages = [event for event in parsed.events if isinstance(event, InboundMessage)]
        counts = Counter(map(self._take, messages))
        self.suppressed += counts["suppressed"]
        return counts

    def _take(self, message: InboundMessage) -> str:
        conversation = (message.account_id, message.customer)
        name = (*conversation, message.message_id)
        about = (*conversation, message.amends)
        is_silent = message.is_silent or about in self._deleted
        room = self._waiting_max * (2 if message.amends else 1)
        if name in self._seen:
            return "duplicate"
        if not is_silent and len(self.kept[conversation]) >= room:
            return "full"
        self._seen.add(name)
        if message.amends:
            # What comes after its edit or deletion is no news.
            self._seen.add(about)
            if message.is_deletion:
                self._deleted.add(about)
        if is_silent:
            return "suppressed"
        self.kept[conversation].append(_as_kept(message))
        return "accepted"


class Judge:
    """Sends deliveries by ``send`` and judges the answers, each on an empty ledger.

    ``tally`` counts the answers by their status.
    """

    def __init__(self, store: Store, send: Callable[[Delivery], Answer]) -> None:
        self._store = store
        self._send = send
        self._taken = 0
        self.tally: Counter[int] = Counter()

    def judge(self, delivery: Delivery) -> None:
        """Deliver, and once more if anything was taken. Raise AssertionError."""
        self._store.client.flushdb()
        parsed, model = _parsed(delivery), Model(self._store.timing.waiting_max)
        answer = self._deliver(delivery)
        if parsed is None:
            self._check_refusal(delivery, answer)
            # The parser itself may be at fault: a good message is refused only for its company's
            # size or depth.
            assert not _holds_good(delivery) or answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            return
        self._check_taken(delivery, answer, parsed, model)
        # Without id and time two gateway messages cannot be told from one delivered twice.
        if parsed == _parsed(delivery):
            self._check_taken(delivery, self._deliver(delivery), parsed, model)

    def _deliver(self, delivery: Delivery) -> Answer:
        answer = self._send(delivery)
        self.tally[answer.status] += 1
        return answer

    def _check_refusal(self, delivery: Delivery, answer: Answer) -> None:
        if delivery.endpoint == "challenge" and delivery.authentic:
            assert (answer.status, answer.body.decode()) == (200, delivery.answer)
            return
        assert answer.status in REFUSALS, answer
        check_error(delivery, answer)
        assert not self._counters()["accepted"]

    def _check_taken(
        self, delivery: Delivery, answer: Answer, parsed: Parsed, model: Model
    ) -> None:
        """Check the receipts' sum, the counters, and that each message is there exactly once."""
        counts = model.take(parsed)
        if counts["full"]:
            assert answer.status == 503, answer
            assert check_error(delivery, answer) == "conversation_full"
            assert answer.headers["retry-after"].isdigit()
        else:
            given = json.loads(answer.body)
            assert answer.status == 200, answer
            names = ("accepted", "duplicate", "suppressed")
            assert {name: given[name] for name in names} == {name: counts[name] for name in names}
            assert given["malformed"] == parsed.malformed
        wanted = {place: messages for place, messages in model.kept.items() if messages}
        assert {place: self._kept(*place) for place in wanted} == wanted
        waiting = sum(map(len, wanted.values()))
        found = self._counters()
        assert (found["open"], found["accepted"]) == (waiting, waiting + model.suppressed)
        unread = {it.account_id for it in parsed.events if isinstance(it, NotUnderstood)}
        alerts = [it for it in Alerts(self._store).newest(100) if it.kind == "not_understood"]
        assert {it.account_id for it in alerts} == unread
        assert [it.detail for it in alerts if "7999000" in it.detail] == []
        self._taken += 1
        if self._taken % AUDIT_EVERY == 0:
            assert audit(self._store).problems == ()
        if delivery.neighbour:
            ids = [message.message_id for messages in wanted.values() for message in messages]
            assert ids.count(NEIGHBOUR_ID) == 1

    def _kept(self, account: str, customer: str) -> list[InboundMessage]:
        """Return what waits of a conversation."""
        conversation_id = self._store.conversation_id(account, customer)
        key = self._store.shard_of(conversation_id).open_messages(conversation_id)
        client: Any = self._store.client
        return [_comparable(decode(account, raw)) for raw in client.lrange(key, 0, -1)]

    def _counters(self) -> Counter[str]:
        """Return the counters of all shards, that of the canary included."""
        shards = self._store.keyring.all_shards
        client: Any = self._store.client
        found = [Counters.of(n, client.hgetall(shard.stats)) for n, shard in enumerate(shards)]
        assert all(counted.holds for counted in found)
        return total(found)


def _as_kept(message: InboundMessage) -> InboundMessage:
    """Return a message as a worker will read it."""
    text = message.text
    if len(text) > TEXT_CHARACTERS_MAX:
        rest = len(text) - TEXT_CHARACTERS_MAX
        told = f"[The rest of this message, {rest} characters, is too long to be kept]"
        text = f"{text[:TEXT_CHARACTERS_MAX]} {told}"
    # What names the customer otherwise is used at once, and not kept.
    return _comparable(
        replace(message, text=text, aliases=(), secondary=False, shared="", has_twin=False)
    )


def _comparable(message: InboundMessage) -> InboundMessage:
    """Return a gateway's message without the id that it was given by chance."""
    made = message.account_id == "nails" and message.message_id.startswith("made_")
    return replace(message, message_id="made") if made else message


def check_error(delivery: Delivery, answer: Answer) -> str:
    """Check that a refusal has the one form and repeats nothing of the request; return its code."""
    if delivery.method == "HEAD":
        assert answer.body == b""
        return ""
    text = answer.body.decode()
    assert [word for word in (*PRIVATE, NAME) if word in text] == []
    assert answer.headers["content-type"] == "application/json"
    error = json.loads(text)["error"]
    assert set(error) == {"code", "message"}
    return str(error["code"])


def parsed_by(endpoint: str, value: object, signer: str) -> Parsed:
    """Return what an endpoint's parser makes of a value. Raise MalformedError."""
    match endpoint:
        case "whatsapp_cloud":
            return whatsapp_cloud.parse(
                value,
                lambda number: signer if NUMBERS.get(number) == signer else None,
                # The only account that the secret proves is meant, whatever business is named.
                lambda _: [signer],
            )
        case "venom":
            return venom.parse(value, "nails")
        case "simulator":
            return simulator.parse(value, "demo")
    return canary.parse(value)


def _parsed(delivery: Delivery) -> Parsed | None:
    """Return what is to be taken, None for what is to be refused."""
    is_small = len(delivery.raw) <= BODY_BYTES_MAX
    if not (delivery.authentic and is_small and delivery.method == "POST"):
        return None
    with suppress(ValueError, RecursionError, MalformedError):
        value = json.loads(delivery.raw)
        if _depth(value) > NESTING_MAX:
            return None
        parsed = parsed_by(delivery.endpoint, value, delivery.signer)
        ours = any(getattr(event, "account_id", "") for event in parsed.events)
        known = ours or not parsed.unknown_accounts or _names_us(value, delivery)
        return parsed if known else None
    return None


def _holds_good(delivery: Delivery) -> bool:
    """Say whether a body that may be read holds the neighbour."""
    proved = delivery.authentic and delivery.neighbour
    return proved and _depth(json.loads(delivery.raw)) <= NESTING_MAX


def _names_us(value: object, delivery: Delivery) -> bool:
    """Say whether an item that says nothing stands under a number of the signer's."""
    found: set[bool] = set()

    def account_of(number: str) -> str | None:
        found.add(NUMBERS.get(number) == delivery.signer)
        return None

    whatsapp_cloud.parse(value, account_of)
    return True in found


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        level = [i for part in level for i in (part.values() if isinstance(part, dict) else part)]
    return depth
