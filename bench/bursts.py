"""Bursts to replay a window over: ``python -m bench.bursts [--seed N] [--thoughts N] > FILE``.

A thought is what a customer writes in one go; where it ends is known here, and nowhere in real
traffic. The figures of ``OBSERVED`` are those of 52,739 messages in public Slack channels, as
``bench.chats --observed`` reads them: how often the same author went on within a minute with nobody
between, and after how long. They are programmers at keyboards, in English, who write longer
messages than customers on a phone: their pauses may be longer. ``MIX`` is a guess of what customers
of a salon write, from no data.
"""

import argparse
import sys
from bisect import bisect
from dataclasses import dataclass
from random import Random
from typing import Final

from batching.bursts import Burst, Bursts, Fragment
from batching.model import Kind
from batching.window import Rule


@dataclass(frozen=True, slots=True)
class Observed:
    """How often more follows a message, in percent, and after how long: quantiles, in seconds."""

    goes_on: int
    pause_s: tuple[int, int, int, int]


#: At these shares of the pauses ``pause_s`` was read; they begin at a second, and end at a minute.
SHARES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
SHORTEST_S, LONGEST_S = 1, 60
OBSERVED: Final = {
    Rule.WORDS: Observed(28, (11, 21, 34, 47)),
    Rule.SENTENCE: Observed(23, (13, 23, 38, 50)),
    Rule.QUESTION: Observed(17, (12, 22, 35, 48)),
    Rule.GREETING: Observed(35, (17, 26, 46, 48)),
    Rule.COMMA: Observed(39, (6, 15, 26, 43)),
    Rule.DASH: Observed(56, (3, 10, 26, 44)),
    Rule.DOTS: Observed(26, (14, 24, 35, 47)),
    Rule.JOIN: Observed(32, (10, 23, 33, 50)),
    Rule.THANKS: Observed(12, (12, 22, 34, 54)),
    Rule.REPLY: Observed(28, (9, 16, 30, 46)),
    Rule.EMOJI: Observed(22, (11, 17, 31, 51)),
}
#: Of a hundred messages; greetings stand first in a thought.
MIX: Final = {
    Rule.QUESTION: 32, Rule.WORDS: 34, Rule.SENTENCE: 12, Rule.REPLY: 7, Rule.COMMA: 4,
    Rule.JOIN: 3, Rule.DOTS: 2, Rule.DASH: 1, Rule.THANKS: 4, Rule.EMOJI: 1,
}  # fmt: skip
#: So many thoughts in a hundred begin with a greeting, and have so many thoughts before the next.
GREETED_PERCENT, THOUGHTS_EACH = 25, 3
#: Between two thoughts of a customer at least, ms: an answer and time to read it.
BETWEEN_MS: Final = 120_000


def generated(seed: int, *, thoughts: int, pace_percent: int = 100) -> Bursts:
    """Return thoughts; pauses are ``pace_percent`` of those observed. The same for one seed."""
    rng, bursts, at_ms = Random(seed), list[Burst](), 0  # noqa: S311 - no secret
    for number in range(thoughts):
        is_first = number % THOUGHTS_EACH == 0
        at_ms = 0 if is_first else at_ms + BETWEEN_MS
        fragments = list[Fragment]()
        for rule in _rules(rng):
            if fragments:
                at_ms += _pause_ms(rng, fragments[-1].rule) * pace_percent // 100
            fragments.append(Fragment(at_ms, rng.randint(2, 120), Kind.TEXT, rule))
        bursts.append(Burst(1 + number // THOUGHTS_EACH, tuple(fragments)))
    return Bursts(tuple(bursts))


def _rules(rng: Random) -> list[Rule]:
    """Return what the messages of a thought look like: each goes on as often as observed."""
    is_greeted = rng.randrange(100) < GREETED_PERCENT
    found = [Rule.GREETING if is_greeted else _drawn(rng)]
    while rng.randrange(100) < OBSERVED[found[-1]].goes_on:
        found.append(_drawn(rng))
    return found


def _drawn(rng: Random) -> Rule:
    return rng.choices(list(MIX), list(MIX.values()))[0]


def _pause_ms(rng: Random, rule: Rule) -> int:
    """Return a pause after a message, between the quantiles on straight lines."""
    at_s = (SHORTEST_S, *OBSERVED[rule].pause_s, LONGEST_S)
    drawn = rng.random()
    place = bisect(SHARES, drawn) - 1
    within = (drawn - SHARES[place]) / (SHARES[place + 1] - SHARES[place])
    return round(1000 * (at_s[place] + within * (at_s[place + 1] - at_s[place])))


def main() -> None:
    """Print bursts."""
    parser = argparse.ArgumentParser(prog="python -m bench.bursts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--thoughts", type=int, default=3_000)
    parser.add_argument("--pace-percent", type=int, default=100)
    typed = parser.parse_args()
    found = generated(typed.seed, thoughts=typed.thoughts, pace_percent=typed.pace_percent)
    sys.stdout.writelines(f"{line}\n" for line in found.encode())


if __name__ == "__main__":
    main()
