"""Walks a ledger in small steps: between two of them Redis serves everybody else.

A key or member that is there all the while is met at least once, what comes or goes meanwhile
perhaps. For the operator's verbs alone: nothing that a customer waits for walks.
"""

from collections.abc import Iterator
from typing import Any

import redis

from batching.keys import Keyring
from batching.ledger import reached

#: About so many keys or members a step.
PAGE = 100


def keys(
    client: redis.Redis, keyring: Keyring, *kinds: str
) -> Iterator[list[tuple[int, str, str]]]:
    """Yield shard number, kind and the rest of each key that starts with one of ``kinds``."""
    numbers = {shard.prefix: number for number, shard in enumerate(keyring.shards)}
    start = keyring.shards[0].prefix.partition(".")[0]
    cursor = 0
    while True:
        with reached():
            found: Any = client.scan(cursor, match=f"{start}.*", count=PAGE)
        cursor, names = found
        page = []
        for name in names:
            tag, brace, rest = name.decode().partition("}:")
            number = numbers.get(tag + brace)
            kind = next((kind for kind in kinds if rest.startswith(kind)), "")
            if number is not None and kind:
                page.append((number, kind, rest.removeprefix(kind)))
        yield page
        if cursor == 0:
            return


def members(client: redis.Redis, key: str) -> Iterator[list[str]]:
    """Yield the members of a sorted set."""
    cursor = 0
    while True:
        with reached():
            found: Any = client.zscan(key, cursor, count=PAGE)
        cursor, pairs = found
        yield [member.decode() for member, _ in pairs]
        if cursor == 0:
            return
