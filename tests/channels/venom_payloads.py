"""Reads the recorded forms of Venom's kin, and names the values that most of them share."""

import json
from pathlib import Path
from typing import Any

from batching.model import InboundMessage, Kind, Media

PAYLOADS = Path(__file__).parent.parent / "payloads"

ACCOUNT = "salon"
CUSTOMER = "79990000001@c.us"
LID = "100000000000001@lid"
SENT_AT_MS = 1_768_478_400_000


def payload(path: str) -> Any:
    """Return the body kept as ``<folder>/<name>``."""
    return json.loads((PAYLOADS / f"{path}.json").read_text())


def names(folder: str) -> set[str]:
    """Return the names of all bodies kept in a folder."""
    return {path.stem for path in (PAYLOADS / folder).glob("*.json")}


def inbound(
    unique: str,
    text: str,
    kind: Kind = Kind.TEXT,
    *,
    customer: str = CUSTOMER,
    sent_at_ms: int = SENT_AT_MS,
    aliases: tuple[str, ...] = (),
    secondary: bool = False,
    media: Media | None = None,
) -> InboundMessage:
    """Return the message expected of a body."""
    return InboundMessage(
        ACCOUNT, customer, unique, kind, text, sent_at_ms, aliases, secondary, media
    )


def media(unique: str, mime_type: str = "", url: str = "") -> Media:
    """Return the media expected of a body, by which the library can be asked for the bytes."""
    return Media(f"false_{CUSTOMER}_{unique}", mime_type, url)
