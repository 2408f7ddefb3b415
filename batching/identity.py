"""Which conversation a customer's ids belong to: found, joined, and kept apart where they conflict.

Every id has a conversation of its own by its digest. A conversation whose ``links`` say that it
moved takes no message any more: ``append`` answers with where it moved to. What waits in it is
answered from it, once. Each step is one script in one shard and all are safe to repeat, and an id
counts as linked only after the last: whoever dies in between leaves the webhook unacknowledged, and
its next delivery does the rest. A conversation moves, or takes in others, only as long as it is as
its process read it; where others have joined it meanwhile, that looks again.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from batching.errors import LedgerUnavailableError
from batching.model import (
    IdentityChange,
    InboundMessage,
    Limits,
    Status,
    is_believed,
)
from batching.store import Store, reached

log = logging.getLogger(__name__)

#: How often a message is brought on, while its conversation moves.
_HOPS_MAX = 4
#: How often conversations are joined that others join meanwhile.
_TRIES_MAX = 10
#: So long before a change of number its new id may have begun to write; whoever wrote earlier under
#: it is somebody else.
_EARLY_MS = 3_600_000
_HOUR_MS = 3_600_000
#: A field of the links that stands for an id.
_DIGEST = re.compile(r"[0-9a-f]{24}")


class _ChangedError(Exception):
    """Others have joined the same conversations meanwhile."""


@dataclass(frozen=True, slots=True)
class _Home:
    """What a conversation is: whether a batch of it waits, since when it is known, its links.

    ``kin``: the conversations whose past belongs to it. ``has_seen``: the message came to it.
    ``moved``: the one to which it moved, "" if it did not.
    """

    conversation_id: str
    is_busy: bool
    first_ms: int | None
    links: frozenset[str]
    kin: tuple[str, ...] = ()
    has_seen: bool = False
    moved: str = ""

    @property
    def exists(self) -> bool:
        return self.is_busy or self.first_ms is not None or bool(self.links)


def rehome(
    store: Store,
    messages: Mapping[int, tuple[InboundMessage, Limits, str, str]],
    values: list[Any],
) -> dict[int, str]:
    """Bring messages that ``append`` did not take where they belong; return their conversations.

    ``messages``: by their place in ``values``, each with its limits, why it asks for no answer, and
    its pause; the receipts are put into ``values``. Raise LedgerUnavailableError.
    """
    found: dict[int, str] = {}
    for hop in range(_HOPS_MAX):
        astray = [n for n in messages if values[n].status in {Status.MOVED, Status.UNLINKED}]
        if not astray:
            return found
        round_trip = store.pipeline(durable=True)
        for n in astray:
            message, limits, suppressed, pause = messages[n]
            found[n] = values[n].batch_id
            # Where it moves on and on, conversations lead to each other.
            if values[n].status is Status.UNLINKED or hop:
                ids = (message.customer, *message.aliases)
                found[n] = unite(
                    store,
                    message.account_id,
                    ids,
                    shared=message.shared,
                    other=values[n].batch_id,
                    message_id=message.message_id,
                )
                # It is settled now: an id that conflicts must not be asked about again.
                message = replace(message, aliases=(), shared="", has_twin=False)
            round_trip.append(found[n], message, limits, suppressed=suppressed, pause=pause)
        for n, receipt in zip(astray, round_trip.execute(), strict=True):
            values[n] = receipt
    raise LedgerUnavailableError("identity_unsettled")


def unite(
    store: Store,
    account_id: str,
    ids: Sequence[str],
    *,
    shared: str = "",
    other: str = "",
    message_id: str = "",
) -> str:
    """Have the ids of one person, named by one message, lead to one conversation; return it.

    ``shared``: a number that they gave as their own. ``other``: a conversation that is known to be
    theirs. What belongs to somebody else by now stays where it is, and a person is alerted; but
    where ``message_id`` came to is theirs, too. Raise LedgerUnavailableError.
    """
    return _persist(lambda: _unite(store, account_id, ids, shared, other, message_id))


def _unite(
    store: Store, account_id: str, ids: Sequence[str], shared: str, other: str, message_id: str
) -> str:
    ways = _ways(store, account_id, [*ids, *filter(None, [shared])])
    other_ways = _to_the_end(store, [[other]] if other else [])
    places = {id_: way[-1] for id_, way in ways.items()}
    base, *further = (places.pop(id_) for id_ in ids)
    seen = store.keyring.digest(account_id, message_id)
    homes = _homes(store, account_id, ways, other_ways, seen)
    ours = {store.keyring.digest(account_id, id_) for id_ in ids}
    joined, kept = [homes[base]], [ids[0]]
    for id_, place in zip(ids[1:], further, strict=True):
        if place == base or homes[place].has_seen or not homes[place].links - ours:
            joined.append(homes[place])
            kept.append(id_)
        else:
            _conflict(store, account_id, base, place)
    joined += [homes[way[-1]] for way in other_ways]
    for id_, place in places.items():
        if place in {home.conversation_id for home in joined} or not homes[place].exists:
            joined.append(homes[place])
            kept.append(id_)
        else:
            _conflict(store, account_id, base, place)
    passed = [c for way in [*(ways[id_] for id_ in kept), *other_ways] for c in way]
    return _join(store, account_id, homes, joined, kept, passed)


def follow(store: Store, change: IdentityChange) -> None:
    """Have a person's new ids lead to the conversation of their former ones, with what waits there.

    A new id under which somebody has written before is not joined: it was another person's. Raise
    LedgerUnavailableError.
    """
    if change.former or change.present:
        place = _persist(lambda: _follow(store, change))
        about = {"account": change.account_id, "conversation": place}
        log.info("identity.followed", extra=about)


def _follow(store: Store, change: IdentityChange) -> str:
    account_id, now_ms = change.account_id, store.now_ms()
    since_ms = change.at_ms if is_believed(change.at_ms, now_ms) else now_ms
    ids = list(dict.fromkeys([*change.former, *change.present]))
    ways = _ways(store, account_id, ids)
    places = {id_: way[-1] for id_, way in ways.items()}
    homes = _homes(store, account_id, ways)
    ours = {store.keyring.digest(account_id, id_) for id_ in ids}
    former = {places[id_] for id_ in change.former}
    joined = [homes[place] for place in dict.fromkeys(places[id_] for id_ in change.former)]
    kept = list(change.former)
    for id_ in change.present:
        home = homes[places[id_]]
        is_older = home.first_ms is not None and home.first_ms < since_ms - _EARLY_MS
        if former and home.conversation_id not in former and (is_older or home.links - ours):
            _conflict(store, account_id, places[change.former[0]], home.conversation_id)
            continue
        joined.append(home)
        kept.append(id_)
    addresses = {
        f"to:{store.keyring.digest(account_id, old)}": json.dumps([new, since_ms])
        for old, new in change.addresses.items()
        if new in kept
    }
    passed = [c for id_ in kept for c in ways[id_]]
    return _join(store, account_id, homes, joined, kept, passed, addresses=addresses)


def _persist(join: Callable[[], str]) -> str:
    """Return what ``join`` does, called again as long as others join the same conversations."""
    for _ in range(_TRIES_MAX):
        with suppress(_ChangedError):
            return join()
    raise LedgerUnavailableError("identity_unsettled")


def family(store: Store, conversation_id: str) -> list[str]:
    """Return a conversation and all that belong to the same customer, the one that lives last.

    The order makes an erasure that was cut short find the rest when it is run again.
    """
    ((*_, home),) = _to_the_end(store, [[conversation_id]])
    (links,) = _ask(store, [("hgetall", store.shard_of(home).links(home))])
    names = [name.decode() for name in links]
    others = [name.removeprefix("kin:") for name in names if name.startswith("kin:")]
    others += [store.keyring.of_digest(name) for name in names if _DIGEST.fullmatch(name)]
    return [*dict.fromkeys(c for c in [conversation_id, *others] if c != home), home]


def where(store: Store, account_id: str, ids: Iterable[str]) -> dict[str, str]:
    """Return the conversation that each id of a customer leads to now."""
    return {id_: way[-1] for id_, way in _ways(store, account_id, ids).items()}


def _ways(store: Store, account_id: str, ids: Iterable[str]) -> dict[str, list[str]]:
    """Return for each id of a customer the conversations that lead to where it belongs now."""
    ids = list(dict.fromkeys(ids))
    digests = [store.keyring.digest(account_id, id_) for id_ in ids]
    names = [store.shard_of(digest).alias(account_id, digest) for digest in digests]
    known = zip(ids, store.read(names), strict=True)
    starts = [[owner or store.conversation_id(account_id, id_)] for id_, owner in known]
    return dict(zip(ids, _to_the_end(store, starts), strict=True))


def _to_the_end(store: Store, ways: Sequence[list[str]]) -> list[list[str]]:
    """Return ways with all the conversations to which their last ones have moved by now.

    Where conversations lead to each other, a way ends before the first that is on it already.
    """
    ways, moved = [[*way] for way in ways], dict[str, str]()
    while ends := list({way[-1] for way in ways} - moved.keys()):
        asked = [("hget", store.shard_of(c).links(c), "moved") for c in ends]
        moved |= {c: (to or b"").decode() for c, to in zip(ends, _ask(store, asked), strict=True)}
        for way in ways:
            while (to := moved.get(way[-1])) and to not in way:
                way.append(to)
    return ways


def _homes(
    store: Store,
    account_id: str,
    ways: Mapping[str, list[str]],
    further: Iterable[list[str]] = (),
    seen: str = "",
) -> dict[str, _Home]:
    """Return what the conversations are that are on the ways of ids, or have their names by them.

    Raise _ChangedError if a way leads elsewhere by now. ``links``: digests of the joined ids; the
    id that gave a conversation its name counts as one as soon as another was joined, and does
    not any more when it has become another. ``seen``: the digest of a message.
    """
    read = [*ways.values(), *further]
    natural = [store.conversation_id(account_id, id_) for id_ in ways]
    places = list(dict.fromkeys([*natural, *(c for way in read for c in way)]))
    asked: list[tuple[Any, ...]] = []
    for c in places:
        s = store.shard_of(c)
        asked += [
            ("hgetall", s.links(c)),
            ("hmget", s.batches(c), "open_id", "id"),
            ("zrange", s.seen(c), 0, 0, False, True),
            ("zscore", s.seen(c), seen),
        ]
    found, homes = iter(_ask(store, asked)), {}
    for c, links, batches, first, has_seen in zip(places, *[found] * 4, strict=True):
        names = [name.decode() for name in links]
        digests = {name for name in names if _DIGEST.fullmatch(name)}
        digests -= {name.removeprefix("to:") for name in names if name.startswith("to:")}
        kin = tuple(name.removeprefix("kin:") for name in names if name.startswith("kin:"))
        first_ms = int(first[0][1]) if first else None
        moved = links.get(b"moved", b"").decode()
        homes[c] = _Home(
            c, any(batches), first_ms, frozenset(digests), kin, has_seen is not None, moved
        )
    if any(homes[way[-1]].moved not in {"", *way} for way in read):
        raise _ChangedError
    return homes


def _ask(store: Store, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    pipeline: Any = store.client.pipeline(transaction=False)
    for name, *args in commands:
        getattr(pipeline, name)(*args)
    with reached():
        return list(pipeline.execute()) if commands else []


def _join(
    store: Store,
    account_id: str,
    homes: Mapping[str, _Home],
    joined: Sequence[_Home],
    ids: Sequence[str],
    passed: Iterable[str],
    *,
    addresses: Mapping[str, str] | None = None,
) -> str:
    """Make one of the joined that of all the ids, with the others' past; return it.

    It is the one in which something waits, else the first that is known: nothing that waits is
    moved, so nothing can be lost or answered twice by it. Raise _ChangedError if one is not as it
    was read. ``passed``: those that lead to the joined; what they know may not be there yet.
    """
    known = [home for home in joined if home.exists] or list(joined[:1])
    chosen = next((it for it in known if it.is_busy), known[0])
    home = chosen.conversation_id
    natural = [store.conversation_id(account_id, id_) for id_ in ids]
    places = dict.fromkeys([*natural, *(it.conversation_id for it in joined), *passed])
    others = [c for c in places if c != home]
    kin = {*others, *(c for it in (home, *others) for c in homes[it].kin)} - {home}
    # First of all: what is deleted here from now on is to be gone there.
    own = dict.fromkeys((f"kin:{other}" for other in sorted(kin)), "1")
    if kin and not store.adopt(home, own, [], "", moved=chosen.moved):
        raise _ChangedError
    noted, seen, author = dict(addresses or {}), list[str](), ""
    for other in others:
        taken = store.move(other, home, noted, moved=homes[other].moved, kin={home, *kin})
        if not taken:
            raise _ChangedError
        author, seen = author or taken[0], seen + taken[1:]
    noted |= {store.keyring.digest(account_id, id_): "1" for id_ in ids}
    if not store.adopt(home, noted, seen, author, moved="" if kin else chosen.moved):
        raise _ChangedError
    # Only now: what comes by a former way is still compared with what came there.
    for id_ in (it for it, c in zip(ids, natural, strict=True) if c != home):
        store.link(home, account_id, id_, again=True)
    return home


def _conflict(store: Store, account_id: str, conversation_id: str, other: str) -> None:
    """Alert a person that an id was given for two customers."""
    detail = f"{conversation_id} {other}"
    store.alert_once(
        "alias_conflict", detail, account_id=account_id, cooldown_ms=_HOUR_MS, about=detail
    )
    log.error("alias.conflicted", extra={"account": account_id, "conversation": conversation_id})
