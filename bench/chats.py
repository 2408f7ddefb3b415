"""Bursts of public chats: ``python -m bench.chats [--observed] CHANNEL.xml ... > FILE``.

Reads the channels of "Software-related Slack chats with disentangled conversations" (Chatterjee et
al., MSR 2020): github.com/preethac/Software-related-Slack-Chats-with-Disentangled-Conversations.
What one author wrote with nobody between, and without a silence of a minute, is a burst. No text is
printed. ``--observed``: how often more follows a message, and when, as ``bench.bursts`` has it.
"""

import argparse
import html
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from batching.bursts import BURST_GAP_MS, Burst, Bursts, Fragment
from batching.model import Kind
from batching.window import Rule, rule_of_said
from bench.bursts import SHARES

#: What Slack writes for an emoji and for a name.
_EMOJI: Final = re.compile(r":[a-z0-9_+'-]+:")
_MENTION: Final = re.compile(r"<@[^>]*>")


@dataclass(frozen=True, slots=True)
class Written:
    """A message of a channel. ``at_ms``: since the epoch."""

    at_ms: int
    author: str
    text: str


def read(path: Path) -> list[Written]:
    """Return the messages of a channel in order of time: the file has them by conversation."""
    found = []
    for item in ET.parse(path).iter("message"):  # noqa: S314 - a file that its user fetched
        at = datetime.fromisoformat(item.findtext("ts") or "").replace(tzinfo=UTC)
        text = _MENTION.sub("", _EMOJI.sub("\N{SLIGHTLY SMILING FACE}", _plain(item)))
        author = item.findtext("user") or ""
        found.append(Written(round(1000 * at.timestamp()), author, text.strip()))
    return sorted(found, key=lambda it: it.at_ms)


def bursts_of(channels: Sequence[Sequence[Written]]) -> Bursts:
    """Return the bursts of channels; a conversation is one author in one channel."""
    found, begins_ms = list[Burst](), dict[tuple[int, str], int]()
    ordinals = dict[tuple[int, str], int]()
    for number, channel in enumerate(channels):
        for written in _runs(channel):
            name = number, written[0].author
            first_ms = begins_ms.setdefault(name, written[0].at_ms)
            fragments = (
                Fragment(
                    it.at_ms - first_ms,
                    len(it.text),
                    Kind.TEXT,
                    rule_of_said(Kind.TEXT, it.text, "en"),
                )
                for it in written
            )
            ordinal = ordinals.setdefault(name, len(ordinals) + 1)
            found.append(Burst(ordinal, tuple(fragments)))
    return Bursts(tuple(found))


def observed(bursts: Bursts) -> Iterator[str]:
    """Yield for each rule how often more follows, in percent, and the quantiles of the pause, s."""
    after = [
        (before.rule, None if then is None else then.at_ms - before.at_ms)
        for burst in bursts.bursts
        for before, then in pairwise([*burst.fragments, None])
        if before is not None
    ]
    for rule in Rule:
        pauses_ms = [pause_ms for it, pause_ms in after if it is rule]
        followed = sorted(it for it in pauses_ms if it is not None)
        if followed:
            share = round(100 * len(followed) / len(pauses_ms))
            places = (followed[int(it * len(followed))] for it in SHARES[1:-1])
            seconds = tuple(round(ms / 1000) for ms in places)
            yield f"{rule} {len(pauses_ms)} {share} {seconds}"


def _runs(channel: Sequence[Written]) -> Iterator[list[Written]]:
    """Yield what one author wrote with nobody between, cut at each long silence."""
    for _, group in groupby(channel, key=lambda it: it.author):
        run = list[Written]()
        for written in group:
            if run and written.at_ms - run[-1].at_ms > BURST_GAP_MS:
                yield run
                run = []
            run.append(written)
        yield run


def _plain(item: ET.Element) -> str:
    # Slack escapes what it stores, and the XML escapes that once more.
    return html.unescape(item.findtext("text") or "")


def main() -> None:
    """Print the bursts of channels, or what was observed in them."""
    parser = argparse.ArgumentParser(prog="python -m bench.chats")
    parser.add_argument("--observed", action="store_true")
    parser.add_argument("channels", nargs="+", type=Path, metavar="CHANNEL.xml")
    typed = parser.parse_args()
    found = bursts_of([read(path) for path in typed.channels])
    lines = observed(found) if typed.observed else found.encode()
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
