"""Says of every answer whether it may be: by a small model of what the ledger must then hold."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from batching.audit import audit
from batching.errors import MalformedError
from batching.inspect import counters
from batching.model import SILENT_KINDS, TEXT_CHARACTERS_MAX, InboundMessage, decode
from batching.store import Store
from canary import channel as canary
from channels import simulator, venom, whatsapp_cloud
from channels.inbound import Parsed
from tests.fuzz.bodies import MARK
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

#: Conversation, as account and customer → its messages that wait, in order.
Kept = dict[tuple[str, str], list[InboundMessage]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Model:
    """What the ledger must make of messages: each id once, and so many to a conversation."""

    waiting_max: int
    kept: Kept = field(default_factory=lambda: defaultdict(list))
    seen: set[tuple[str, str, str]] = field(default_factory=set)

    def take(self, parsed: Parsed) -> Counter[str]:
        """Take the messages of a body; return how many came to what."""
        counts: Counter[str] = Counter()
        for message in parsed.events:
            if isinstance(message, InboundMessage):
                counts[self._took(message)] += 1
        return counts

    def _took(self, message: InboundMessage) -> str:
        conversation = (message.account_id, message.customer)
        if (*conversation, message.message_id) in self.seen:
            return "duplicate"
        if message.kind not in SILENT_KINDS:
            if len(self.kept[conversation]) >= self.waiting_max:
                return "full"
            self.kept[conversation].append(message)
        self.seen.add((*conversation, message.message_id))
        return "suppressed" if message.kind in SILENT_KINDS else "accepted"


class Judge:
    """Sends deliveries by ``send`` and judges the answers, each on an empty ledger.

    ``tally`` counts the answers by their status.
    """

    def __init__(self, store: Store, send: Callable[[Delivery], Answer]) -> None:
        self._store = store
        self._send = send
        self._is_empty = False
        self._taken = 0
        self.tally: Counter[int] = Counter()

    def judge(self, delivery: Delivery) -> None:
        """Deliver, and once more if anything was taken. Raise AssertionError."""
        if not self._is_empty:
            self._store.client.flushdb()
        self._is_empty = False
        parsed, model = _parsed(delivery), Model(self._store.timing.waiting_max)
        answer = self._deliver(delivery)
        if parsed is None:
            self._check_refusal(delivery, answer)
            # The parser itself may be at fault: a good message is refused only for its company's
            # size or depth.
            assert not _holds_good(delivery) or answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            return
        # Without id and time two gateway messages cannot be told from one delivered twice.
        is_certain = parsed == _parsed(delivery)
        self._check_taken(delivery, answer, parsed, model, last=not is_certain)
        if is_certain:
            self._check_taken(delivery, self._deliver(delivery), parsed, model, last=True)

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
        pipe = self._store.client.pipeline(transaction=False)
        for shard in self._store.keyring.all_shards:
            pipe.hget(shard.stats, "accepted")
        pipe.flushdb()
        *accepted, self._is_empty = pipe.execute()
        assert not any(accepted)

    def _check_taken(
        self, delivery: Delivery, answer: Answer, parsed: Parsed, model: Model, *, last: bool
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
        wanted = {
            place: [_as_kept(message) for message in found]
            for place, found in model.kept.items()
            if found
        }
        assert self._kept(wanted, last=last) == wanted
        if delivery.neighbour:
            found = [m for messages in wanted.values() for m in messages]
            assert [m.message_id for m in found].count(NEIGHBOUR_ID) == 1

    def _kept(self, wanted: Kept, *, last: bool) -> Kept:
        """Return what waits of the conversations named, after a check that nothing else does.

        One round trip; with ``last`` it empties the ledger.
        """
        store = self._store
        self._taken += 1
        if self._taken % AUDIT_EVERY == 0:
            assert audit(store).problems == ()
            assert all(counted.holds for counted in counters(store))
        pipe = store.client.pipeline(transaction=False)
        for shard in store.keyring.all_shards:
            pipe.hmget(shard.stats, "open", "suppressed", "accepted")
        for account, customer in wanted:
            conversation_id = store.conversation_id(account, customer)
            pipe.lrange(store.shard_of(conversation_id).open_messages(conversation_id), 0, -1)
        if last:
            pipe.flushdb()
        found: list[Any] = pipe.execute()
        self._is_empty = last
        shards = len(store.keyring.all_shards)
        lists = zip(wanted, found[shards:], strict=False)
        kept = {
            place: [_comparable(decode(place[0], raw)) for raw in raws]
            for place, raws in lists
            if raws
        }
        opened, suppressed, accepted = (
            sum(int(part[n] or 0) for part in found[:shards]) for n in range(3)
        )
        assert (opened, accepted) == (sum(map(len, kept.values())), opened + suppressed)
        return kept


def _as_kept(message: InboundMessage) -> InboundMessage:
    """Return a message as a worker will read it."""
    text = message.text
    if len(text) > TEXT_CHARACTERS_MAX:
        rest = len(text) - TEXT_CHARACTERS_MAX
        told = f"[The rest of this message, {rest} characters, is too long to be kept]"
        text = f"{text[:TEXT_CHARACTERS_MAX]} {told}"
    return _comparable(replace(message, text=text, aliases=(), secondary=False))


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
    assert [word for word in PRIVATE if word in text] == []
    assert answer.headers["content-type"] == "application/json"
    error = json.loads(text)["error"]
    assert set(error) == {"code", "message"}
    return str(error["code"])


def parsed_by(endpoint: str, value: object, signer: str) -> Parsed:
    """Return what an endpoint's parser makes of a value. Raise MalformedError."""
    match endpoint:
        case "whatsapp_cloud":
            return whatsapp_cloud.parse(
                value, lambda number: signer if NUMBERS.get(number) == signer else None
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
