"""The languages of the scripted model, one TOML file each; en.toml explains the tables.

Texts are compared in small letters, and what a language knows of them is marked in CAPITALS:
"How much is a haircut tomorrow at 3?" becomes "PRICES is a haircut TODAY+1 AT 3?".
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

#: A sentence in brackets in which a channel says what came in place of words.
NOTE = re.compile(r"\[The customer [^\]]*\]")
_MARK = re.compile("[A-Z_]{2,}")
#: "coloring" and "colour" are alike, "message" and "massage" are not.
_ALIKE_RATIO, _ALIKE_MIN = 0.9, 5


def fold(text: str) -> str:
    """Return ``text`` for comparison: small letters, no apostrophes, "3 pm" for "3pm"."""
    text = re.sub("['\u2019`\u02bc]", "", text.casefold().replace("ё", "\u0435"))
    return re.sub(r"(?<=\d)(?=[^\W\d_])", " ", text)


def marker(tables: Iterable[Mapping[str, Sequence[str]]], after: str = "") -> Callable[[str], str]:
    """Return a function that puts the name of a list for each of its phrases in a folded text.

    ``after`` follows each name. In a phrase ``*`` stands for the rest of a word, `` .. `` for up
    to three words.
    """
    entries = [(name, "|".join(map(_regex, table[name]))) for table in tables for name in table]
    choices = "|".join(f"({regex})" for _, regex in entries) or "(?!)"
    pattern = re.compile(rf"(?<!\w)(?:{choices})(?!\w)")
    names = [name + after for name, _ in entries]
    return lambda text: pattern.sub(lambda found: names[(found.lastindex or 1) - 1], text)


def _regex(phrase: str) -> str:
    text = re.escape(fold(phrase)).replace(r"\ \.\.\ ", r"\W+(?:\w+\W+){0,3}?")
    return text.replace(r"\*", r"\w*").replace(r"\ ", r"\W{1,3}")


class Language:
    """What is said in one language; a phrase that its file lacks is ``colleague`` instead."""

    def __init__(self, code: str, table: Mapping[str, Any]) -> None:
        self.code, self.table = code, table
        self.letters: str = table["letters"]
        self.words = frozenset(fold(table["words"]).split())
        self.phrases: Mapping[str, str] = table["phrases"]
        self.topics = [table.get(name, {}) for name in ("plain", "topics", "small")]
        self._mark = marker([*self.topics, table.get("times", {})], after=" ")

    def score(self, text: str) -> int:
        """Return how much in ``text`` shows that it is in this language; 0 for nothing."""
        words = re.findall(r"\w+", self._mark(fold(NOTE.sub("", text))))
        own = {letter for letter in text.casefold() if letter.isalpha() and not letter.isascii()}
        known = [word for word in words if word.isupper() or word in self.words]
        return 2 * len(known) + int(bool(own) and own.issubset(self.letters))

    def pick(self, text: str) -> str:
        """Return the part of "one / other" in this language, a plain one if there is none."""
        return max(text.split(" / "), key=lambda part: (self.score(part), part.isascii())).strip()

    def say(self, phrase: str, **values: str) -> str:
        """Return a phrase with its values, and with a capital letter."""
        text = self.phrases.get(phrase, self.phrases["colleague"]).format(**values)
        return text[:1].upper() + text[1:]

    def day(self, day: date, today: date) -> str:
        """Return a day as one says it: "tomorrow, Friday 16 January,", "on Friday 16 January"."""
        if not (words := self.table.get("calendar")):
            return ""
        dated = f"{words['on_days'][day.weekday()]} {day.day} {words['months'][day.month - 1]}"
        near = dict(enumerate(words["near_days"], start=-1)).get((day - today).days)
        return f"{near}, {dated}," if near else words["on"].format(day=dated)

    def join(self, names: Sequence[str], conjunction: str) -> str:
        """Return names as a list in words: "a, b and c"."""
        *most, last = names or [""]
        return f"{', '.join(most)} {self.phrases[conjunction]} {last}" if most else last


class Languages:
    """All languages together: a customer may use words of several.

    ``plain``: topics to which the phrase of the same name is the answer, in that order.
    ``small``: topics that by themselves ask for nothing.
    """

    def __init__(self, languages: Sequence[Language]) -> None:
        self._all = languages
        tables = [language.table for language in languages]
        self.plain = list(
            dict.fromkeys(name for table in tables for name in table.get("plain", ()))
        )
        self.small = {name for table in tables for name in table.get("small", ())}
        self._silences = {k: v for table in tables for k, v in table.get("silences", {}).items()}
        self._mark = marker((one for language in languages for one in language.topics), after=" ")
        self.mark_times = marker(table.get("times", {}) for table in tables)
        self.mark_headings = marker(table.get("headings", {}) for table in tables)
        self.fillers = frozenset[str]().union(*(language.words for language in languages))
        endings = " ".join(table.get("endings", "") for table in tables).split()
        self._ending = re.compile(rf"(?<=\w{{3}})(?:{'|'.join(endings) or '(?!)'})\Z")

    def of(self, texts: Sequence[str], default: str) -> Language:
        """Return the language of the first text that shows one, else the one named ``default``."""
        order = sorted(self._all, key=lambda one: (one.code != default, one.code != "en"))
        scores = [[one.score(text) for text in texts] for one in order]
        shown = next((text for text in range(len(texts)) if any(own[text] for own in scores)), 0)
        # Where two languages may be meant, it is the one of the rest of the conversation.
        return max(zip(order, scores, strict=True), key=lambda pair: (pair[1][shown], pair[1]))[0]

    def topics(self, text: str) -> tuple[set[str], str]:
        """Return the topics of a text, and its words that neither they nor times explain."""
        marked = self._mark(fold(text))
        found = {*_MARK.findall(marked), *(["QUESTION"] if "?" in text else [])}
        silenced = {other for topic in found for other in self._silences.get(topic, ())}
        rest = self.mark_times(_MARK.sub(" ", marked))
        return found - silenced, _MARK.sub(" ", rest)

    def content_words(self, text: str) -> list[str]:
        """Return the words of a text that can name something, folded, in order, each once."""
        words = dict.fromkeys(re.findall(r"[^\W\d_]+", fold(text)))
        return [word for word in words if word not in self.fillers]

    def shared(self, words: Iterable[str], text: str) -> list[str]:
        """Return those folded words that a text has too, perhaps with another ending or a slip."""
        others = {self._ending.sub("", word) for word in self.content_words(text)}
        return [one for one in words if self._is_in(self._ending.sub("", one), others)]

    def _is_in(self, word: str, others: Collection[str]) -> bool:
        alike = (
            SequenceMatcher(None, word, one).ratio() for one in others if len(one) >= _ALIKE_MIN
        )
        return word in others or (len(word) >= _ALIKE_MIN and max(alike, default=0) >= _ALIKE_RATIO)

    def says(self, answer: str, *kinds: str) -> bool:
        """Return whether an answer of ours holds a phrase whose name begins so."""
        phrases = (pair for one in self._all for pair in one.phrases.items())
        texts = (text for name, text in phrases if name.startswith(kinds))
        return any(max(re.split(r"\{\w+\}", text), key=len) in answer for text in texts)

    def name_in(self, text: str) -> str:
        """Return the name under which a customer introduces themselves, "" if they do not."""
        patterns = (intro for one in self._all for intro in one.table.get("introductions", ()))
        names = (found for intro in patterns for found in re.findall(intro, text))
        name = next((name for name in names if fold(name) not in self.fillers), "")
        return name[:1].upper() + name[1:]


@cache
def load(folder: Path) -> Languages:
    """Return the languages of the TOML files in ``folder``, each named as its file."""
    tables = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in folder.glob("*.toml")}
    return Languages([Language(code, table) for code, table in sorted(tables.items())])
