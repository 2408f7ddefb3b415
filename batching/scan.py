"""Walk through the names of a ledger in use, a page at a time, without stopping anything.

A name that is there from beginning to end is met at least once; others may be missed. All
functions raise LedgerUnavailableError.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from batching.store import Store, reached

#: About so many names a step of a scan.
PAGE = 100


def scan_names(store: Store, pattern: str, *, count: int = PAGE) -> Iterator[list[bytes]]:
    """Yield the names of keys that match a pattern, about ``count`` looked at in a step."""
    cursor = 0
    while True:
        with reached():
            found: Any = store.client.scan(cursor, match=pattern, count=count)
        cursor, names = found
        yield names
        if cursor == 0:
            return


def scan_keys(store: Store, *kinds: str) -> Iterator[list[tuple[int, str, str]]]:
    """Yield shard number, kind and the rest of each key that starts with one of ``kinds``."""
    shards = store.keyring.shards
    numbers = {shard.prefix: number for number, shard in enumerate(shards)}
    pattern = f"{shards[0].prefix.partition('.')[0]}.*"
    for names in scan_names(store, pattern):
        page = []
        for name in names:
            tag, brace, rest = name.decode().partition("}:")
            number = numbers.get(tag + brace)
            kind = next((kind for kind in kinds if rest.startswith(kind)), "")
            if number is not None and kind:
                page.append((number, kind, rest.removeprefix(kind)))
        yield page


def scan_members(store: Store, keys: Sequence[str]) -> Iterator[list[tuple[int, str]]]:
    """Yield members of sorted sets, each with the place of its key among ``keys``."""
    cursors = dict.fromkeys(range(len(keys)), 0)
    while cursors:
        pipeline: Any = store.client.pipeline(transaction=False)
        for place, cursor in cursors.items():
            pipeline.zscan(keys[place], cursor, count=PAGE)
        with reached():
            found = dict(zip(cursors, pipeline.execute(), strict=True))
        yield [(place, name.decode()) for place, (_, pairs) in found.items() for name, _ in pairs]
        cursors = {place: cursor for place, (cursor, _) in found.items() if cursor}
