"""The recorded webhooks, and what the tests that read them share."""

import json
from pathlib import Path
from typing import Any

from channels.inbound import Parsed
from channels.whatsapp_cloud import parse

FOLDER = Path(__file__).parent.parent / "payloads" / "whatsapp_cloud"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))

#: The numbers in the fixtures that are ours; a third one is not.
ACCOUNTS = {"100000000000001": "salon", "100000000000002": "barber"}
CUSTOMER = "79990000001"
USER_ID = "RU.1000000000000001"
SENT_AT_MS = 1_768_478_400_000


def load(name: str) -> Any:
    """Return a fixture's body."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def read(body: object) -> Parsed:
    """Return what the parser makes of a body."""
    return parse(body, ACCOUNTS.get)
