"""Keeps from customers what a model was talked into: the last look at an answer before it is kept.

A customer can make a model say nearly anything, and no prompt prevents that. What an answer says
is the model's; where it sends people is the business's. So links, numbers and addresses that
neither the prompt file nor the customer gave are withheld, and an answer that recites the
instructions is refused.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Sequence

from batching.errors import TransientError
from batching.model import Exchange
from batching.ports import Model
from llm.contacts import Contact, contacts, replaced
from llm.prompt import MARK, Prompt

log = logging.getLogger(__name__)

#: What stands in the place of what is withheld; no language needs another.
WITHHELD = "[…]"
#: So many words of the rules in a row are recited, not said by chance.
RECITED_WORDS = 10

_WORD = re.compile(r"\w+")


class Guarded:
    """Implements the Model port: the answers of ``model``, fit for customers of the business."""

    def __init__(self, model: Model, *, prompt: Prompt, account_id: str) -> None:
        self.model = model
        self._account_id = account_id
        self._published = frozenset(contacts(prompt.facts()))
        self._rules = _runs(prompt.rules())

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> str:
        """Return the answer without what is withheld.

        Raise TransientError ``model_recited``, and what the model raises.
        """
        answer = self.model.answer(history, turn, now_ms=now_ms)
        if MARK.casefold() in answer.casefold() or not self._rules.isdisjoint(_runs(answer)):
            raise TransientError("model_recited")
        said = {c for text in (turn, *(e.customer for e in history)) for c in contacts(text)}
        fit, withheld = without_strangers(answer, self._published, said)
        if withheld:
            log.warning("reply.redacted", extra={"account": self._account_id, **withheld})
        return fit


def without_strangers(
    answer: str, published: Collection[Contact], said: Collection[Contact]
) -> tuple[str, dict[str, int]]:
    """Return the answer without contacts that are not known, and how many of each kind they were.

    ``published`` are the business's: a link may lead to any page of their hosts. ``said`` are
    the customer's, who may be told their own number or address again; a link of theirs may not.
    """
    hosts = {contact.key for contact in published if contact.kind == "link"}
    withheld: Counter[str] = Counter()

    def judge(contact: Contact) -> str | None:
        if contact.kind == "link":
            known = any(_is_under(contact.key, host) for host in hosts)
        else:
            known = contact in published or contact in said
        if known:
            return None
        withheld[contact.kind] += 1
        return WITHHELD

    return replaced(answer, judge), dict(withheld)


def _is_under(host: str, published: str) -> bool:
    return bool(host and published) and (host == published or host.endswith(f".{published}"))


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    """Return every run of RECITED_WORDS words in ``text``."""
    words: list[str] = _WORD.findall(text.casefold())
    return frozenset(zip(*(words[start:] for start in range(RECITED_WORDS)), strict=False))
