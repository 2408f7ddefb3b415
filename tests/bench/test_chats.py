"""Public chats become bursts without a word of them."""

import json
from pathlib import Path

from batching.bursts import Bursts
from bench.chats import bursts_of, observed, read

MESSAGE = '<message conversation_id="{}"><ts>{}</ts><user>{}</user><text>{}</text></message>'
#: Not in order of time: the files are sorted by conversation.
CHANNEL = (
    (1, "2019-01-01T10:00:00.000100", "Ann", "hi"),
    (1, "2019-01-01T10:00:12.500000", "Ann", "&lt;@Bob&gt; is it 1 &amp;gt; 0?"),
    (1, "2019-01-01T10:00:20", "Bob", "yes :+1:"),
    (1, "2019-01-01T10:02:00", "Ann", ":heart:"),
    (2, "2019-01-01T10:00:14", "Bob", "which one,"),
)


def channel(directory: Path) -> Path:
    path = directory / "channel.xml"
    written = "".join(MESSAGE.format(*it) for it in CHANNEL)
    path.write_text(f"<slack><team_domain>invented</team_domain>{written}</slack>")
    return path


def test_chat_is_cut_by_author_and_silence(tmp_path: Path) -> None:
    found = bursts_of([read(channel(tmp_path))])

    assert [json.loads(line) for line in found.encode()][1:] == [
        {"conversation": 1, "messages": [
            [0, 2, "text", "greeting", 0], [12_500, 12, "text", "question", 0],
        ]},
        {"conversation": 2, "messages": [
            [0, 10, "text", "comma", 0], [6_000, 5, "text", "reply", 0],
        ]},
        {"conversation": 1, "messages": [[120_000, 1, "text", "emoji", 0]]},
    ]  # fmt: skip
    assert Bursts.decode(found.encode()) == found


def test_what_was_observed_is_told_for_each_rule_that_was_followed(tmp_path: Path) -> None:
    found = bursts_of([read(channel(tmp_path))])

    assert list(observed(found)) == [
        "greeting 1 100 (12, 12, 12, 12)",
        "comma 1 100 (6, 6, 6, 6)",
    ]
