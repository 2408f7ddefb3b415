"""When a person is to answer, whatever a model says: words, anger, a list, a promise in an answer.

A table of phrases by language, ``handover.toml``. Customers mix languages and models answer in any,
so all languages are looked for at once. What no table has is not found: see docs/conversation.md
for how often that is so, and how often something harmless is taken for a promise.
"""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from batching.model import Answer, Exchange, Handover, plain

#: So many answers in a row that understood nothing are one too many, this one included.
UNCLEAR_MAX = 3
#: The text of an answer that is looked at: as long as any that is sent.
_SENTENCE = re.compile(r"[^.!?…\n]+(?:[.!?…]+|\n|\Z)")
#: How far from each other a person and what they will do stand in a promise, in characters.
_NEAR = 90
#: Signs of which so many in a row are shouted, and capital letters of which so many are.
_SHOUTED = re.compile(r"[!?]{4,}|[😡🤬😤😠👿]")
_CAPITALS_MIN = 20


@dataclass(frozen=True, slots=True)
class Phrases:
    """What is looked for in all languages."""

    asks: re.Pattern[str]
    angry: re.Pattern[str]
    unclear: re.Pattern[str]
    promises: re.Pattern[str]
    offers: re.Pattern[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhraseDesk:
    """Implements the Desk port for an account of a language.

    ``sentence``: said where a model hands over without words, "" for the language's own. ``words``:
    further ones for which a customer gets a person. ``vip``: ids of customers who always get one.
    """

    language: str
    sentence: str = ""
    words: Collection[str] = ()
    vip: Collection[str] = ()

    def claims(self, customers: Sequence[str], turn: str) -> Handover | None:
        """Return why a person is to answer before a model is asked, None for no reason."""
        said = plain(turn)
        rules = (
            ("vip", not _ids(customers).isdisjoint(_ids(self.vip))),
            ("words", phrases().asks.search(said) or _has_word(said, self.words)),
            ("angry", is_angry(turn)),
        )
        reason = next((name for name, holds in rules if holds), "")
        urgency = "high" if reason in {"angry", "vip"} else "normal"
        return Handover(reason, turn, urgency) if reason else None

    def settled(self, history: Sequence[Exchange], answer: Answer) -> Answer:
        """Return an answer with words, and with a hand-over where its words promise one."""
        if answer.handover is None:
            last = [one.answer for one in history if one.answer][-UNCLEAR_MAX + 1 :]
            said = [*last, answer.text]
            if promises(answer.text):
                answer = replace(answer, handover=Handover("promised", answer.text))
            elif len(said) == UNCLEAR_MAX and all(map(phrases().unclear.search, map(plain, said))):
                answer = replace(answer, handover=Handover("unclear", history[-1].customer))
        if answer.handover and not answer.text.strip():
            return replace(answer, text=self.sentence or default(self.language, "sentence"))
        return answer


def is_angry(text: str) -> bool:
    """Return whether a customer is angry, as far as words, shouting and faces show it.

    Not found: cold or ironic anger. Taken for it: who shouts for joy in capital letters.
    """
    letters = [sign for sign in text if sign.isalpha()]
    upper = sum(sign.isupper() for sign in letters)
    is_loud = upper >= _CAPITALS_MIN and 10 * upper >= 9 * len(letters)
    return bool(is_loud or _SHOUTED.search(text) or phrases().angry.search(plain(text)))


def promises(text: str) -> bool:
    """Return whether an answer says that a person will answer, confirm or look into something."""
    sentences = (plain(found[0]) for found in _SENTENCE.finditer(text))
    return any(
        phrases().promises.search(it) and not phrases().offers.search(it) for it in sentences
    )


def default(language: str, name: str) -> str:
    """Return what is said in a language, "en-GB" as in "en"; in English where it is not known."""
    table = _table()
    return str(table.get(language.partition("-")[0], table["en"])[name])


@cache
def phrases() -> Phrases:
    """Return what is looked for."""
    tables = _table().values()
    names = ("asks", "angry", "unclear", "we", "offers")
    lists = {name: [it for table in tables for it in table[name]] for name in names}
    pairs = [
        f"{first}.{{0,{_NEAR}}}{second}"
        for table in tables
        for who, will in [(rf"\b(?:{table['who']})", rf"(?:\b|(?=\.ll)){table['will']}")]
        for first, second in ((who, will), (will, who))
    ]
    return Phrases(
        asks=_any(lists["asks"]),
        angry=_any(lists["angry"]),
        unclear=_any(lists["unclear"]),
        promises=_any([*pairs, *lists["we"]]),
        offers=_any(lists["offers"]),
    )


def _any(found: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{it.replace('_', chr(92) + 'b')})" for it in found))


@cache
def _table() -> Mapping[str, Mapping[str, str | Sequence[str]]]:
    return tomllib.loads((files("llm") / "handover.toml").read_text("utf-8"))


def _ids(ids: Collection[str]) -> set[str]:
    """Return ids as they are compared: of a telephone number the digits, whoever writes it."""
    return {re.sub(r"[^0-9a-z@.]|@.*", "", it.casefold()) for it in ids}


def _has_word(said: str, words: Collection[str]) -> bool:
    return any(re.search(rf"(?<!\w){re.escape(plain(it))}(?!\w)", said) for it in words)
