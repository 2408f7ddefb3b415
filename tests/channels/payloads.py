"""The recorded webhooks, and what the parsers make of them.

``tests/payloads/<folder>.json`` says what each body of the folder reads as, without default values.
"""

import json
from pathlib import Path
from typing import Any

from batching.model import InboundMessage
from channels import venom, whatsapp_cloud
from channels.inbound import Parsed

PAYLOADS = Path(__file__).parent.parent / "payloads"
FOLDERS = ("whatsapp_cloud", "venom", "gateway")
PATHS = [
    f"{folder}/{path.stem}"
    for folder in FOLDERS
    for path in sorted((PAYLOADS / folder).glob("*.json"))
]
#: The numbers in the bodies that are ours; a third one is not.
NUMBERS = {"100000000000001": "salon", "100000000000002": "barber"}


def load(path: str) -> Any:
    """Return the JSON kept as ``path``."""
    return json.loads((PAYLOADS / f"{path}.json").read_text())


def read(folder: str, body: object) -> Parsed:
    """Return what the provider of a folder makes of a body."""
    if folder == "whatsapp_cloud":
        return whatsapp_cloud.parse(body, NUMBERS.get)
    return venom.parse(body, "salon")


def changed(path: str, **fields: object) -> Any:
    """Return a recorded body in whose one message these fields are others."""
    body = load(path)
    if path.startswith("whatsapp_cloud"):
        body["entry"][0]["changes"][0]["value"]["messages"][0] |= fields
        return body
    return body | fields


def message(path: str, **fields: object) -> InboundMessage:
    """Return the message that a body, so changed, reads as."""
    (event,) = read(path.partition("/")[0], changed(path, **fields)).events
    assert isinstance(event, InboundMessage)
    return event
