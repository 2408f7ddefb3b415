"""How a message is kept in the ledger: a JSON list, short because it is paid for in memory."""

import json
from typing import Any

from batching.model import InboundMessage, Kind, Media

#: Longest text that is kept of one message, in characters: as long as WhatsApp lets anybody write.
TEXT_CHARACTERS_MAX = 65_536
_KINDS = frozenset(Kind)


def encode(message: InboundMessage) -> bytes:
    """Return a message as the ledger keeps it; its account is the conversation's.

    A JSON list without names, and without what a text does not have: what waits in Redis is paid
    for in memory.
    """
    kept: list[Any] = [
        message.message_id,
        message.customer,
        _bounded(message.text),
        message.sent_at_ms,
    ]
    if message.kind is not Kind.TEXT or message.media is not None:
        kept.append(message.kind)
    if message.media is not None:
        kept.append([message.media.media_id, message.media.mime_type, message.media.url])
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


def _bounded(text: str) -> str:
    """Return ``text`` within the limit, with a sentence about the rest if there is one."""
    rest = len(text) - TEXT_CHARACTERS_MAX
    if rest <= 0:
        return text
    told = f"[The rest of this message, {rest} characters, is too long to be kept]"
    return f"{text[:TEXT_CHARACTERS_MAX]} {told}"


def decode(account_id: str, raw: bytes) -> InboundMessage:
    """Return the message that ``encode`` kept."""
    message_id, customer, text, sent_at_ms, *rest = json.loads(raw)
    kind = rest[0] if rest else Kind.TEXT
    return InboundMessage(
        account_id=account_id,
        customer=customer,
        message_id=message_id,
        # A newer release may have written a kind that this one does not know.
        kind=Kind(kind) if kind in _KINDS else Kind.UNSUPPORTED,
        text=text,
        sent_at_ms=sent_at_ms,
        media=Media(*rest[1]) if len(rest) > 1 else None,
    )
