"""The languages of the scripted model, one TOML file each; en.toml explains the tables."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

#: A sentence in brackets in which a channel says what came in place of words, or an age.
NOTE = re.compile(r"\[(?:The customer|sent) [^\]]*\]")
_MARK = re.compile("[A-Z_]{2,}")
#: In a phrase ``*`` is the rest of a word, `` .. `` up to three words; ``|`` is between phrases.
_SIGNS = {" .. ": r"\W+(?:\w+\W+){0,3}?", "*": r"\w*", " ": r"\W{1,3}", "|": "|"}
#: The tables of topics; those of the first are answered by the phrase of the same name.
_TOPICS = ("plain", "topics", "polite", "small")


def fold(text: str) -> str:
    """Return ``text`` for comparison: small letters, no apostrophes, "3 pm" for "3pm"."""
    text = re.sub("['\u2019`\u02bc]", "", text.casefold().replace("ё", "\u0435"))
    return re.sub(r"(?<=\d)(?=[^\W\d_])", " ", text)


def alike(word: str, other: str) -> bool:
    """Return whether two words begin alike up to an ending: not "hair" and "haircut"."""
    return other.startswith(word[: max(3, (3 * max(len(word), len(other)) + 4) // 5)])


def marker(tables: Iterable[Mapping[str, Sequence[str]]]) -> Callable[[str], str]:
    """Return a function that marks a folded text: "PRICES TODAY+1 AT 3" for "how much .. at 3"."""
    lists = [(f"{name} ", "|".join(table[name])) for table in tables for name in table]
    regex = "|".join(f"({re.escape(fold(phrases))})" for _, phrases in lists) or "(?!)"
    for sign, meaning in _SIGNS.items():
        regex = regex.replace(re.escape(sign), meaning)
    pattern = re.compile(rf"(?<!\w)(?:{regex})(?!\w) ?")
    return lambda text: pattern.sub(lambda found: lists[(found.lastindex or 1) - 1][0], text)


class Language:
    """What is said in a language, or understood in several: customers mix them, files may too."""

    def __init__(self, *tables: Mapping[str, Any]) -> None:
        self._phrases: dict[str, str] = tables[0]["phrases"]
        self._tables = tables
        names = [[name for table in tables for name in table.get(kind, ())] for kind in _TOPICS]
        self.plain, self.polite, self.small = names[0], names[2], {*names[2], *names[3]}
        self.mark = marker(table.get(kind, {}) for table in tables for kind in _TOPICS)
        self.times = marker(table.get("times", {}) for table in tables)
        self.fillers = {word for table in tables for word in fold(table["words"]).split()}

    def score(self, text: str) -> int:
        """Return how much in ``text`` shows that it is in this language; 0 for nothing."""
        own = {letter for letter in text.casefold() if letter.isalpha() and not letter.isascii()}
        words = re.findall(r"[^\W\d]+", self.times(self.mark(fold(NOTE.sub("", text)))))
        known = [word for word in words if word.isupper() or word in self.fillers]
        return 2 * len(known) + int(bool(own) and own.issubset(self._tables[0]["letters"]))

    def pick(self, text: str) -> str:
        """Return the part of "one / other" in this language, a plain one if there is none."""
        return max(text.split(" / "), key=lambda part: (self.score(part), part.isascii())).strip()

    def say(self, phrase: str, **values: str) -> str:
        """Return a phrase, "no_" of it where a value is empty, ``colleague`` where it lacks."""
        text = self._phrases.get(phrase, self._phrases["colleague"])
        text = text if all(values.values()) else self._phrases.get(f"no_{phrase}", text)
        return text.format(**values)

    def says(self, answer: str, *kinds: str) -> bool:
        """Return whether an answer of ours holds a phrase whose name begins so."""
        texts = (text for name, text in self._phrases.items() if name.startswith(kinds))
        return any(max(re.split(r"\{\w+\}", text), key=len) in answer for text in texts)

    def day(self, day: date | None) -> str:
        """Return a day as one says it, "on Friday 16 January"; "" for none, or where it lacks."""
        days, months = (self._tables[0].get(name, ()) for name in ("on_days", "months"))
        return f"{days[day.weekday()]} {day.day} {months[day.month - 1]}" if day and days else ""

    def topics(self, text: str) -> tuple[set[str], list[str]]:
        """Return the topics of a text, and its words that neither they nor times explain."""
        marked = self.mark(fold(text))
        found = {*_MARK.findall(marked), *(["QUESTION"] if "?" in text else [])}
        return found, self.words(_MARK.sub(" ", self.times(_MARK.sub(" ", marked))))

    def words(self, text: str) -> list[str]:
        """Return the words of a text that can name something, folded, in order, each once."""
        words = dict.fromkeys(re.findall(r"[^\W\d_]+", fold(text)))
        return [word for word in words if word not in self.fillers]

    def shared(self, words: Iterable[str], text: str) -> list[str]:
        """Return those folded words that a text has too, perhaps with another ending or a slip."""
        others = self.words(text)
        return [word for word in words if any(alike(word, other) for other in others)]

    def name_in(self, text: str) -> str:
        """Return the name under which a customer introduces themselves, "" if they do not."""
        patterns = (intro for table in self._tables for intro in table.get("introductions", ()))
        names = (found for intro in patterns for found in re.findall(intro, text))
        return next((name.title() for name in names if fold(name) not in self.fillers), "")


@cache
def load(folder: Path) -> Mapping[str, Language]:
    """Return the languages of the TOML files in ``folder`` by code, under "" all together."""
    paths = sorted(folder.glob("*.toml"))
    tables = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in paths}
    return {"": Language(*tables.values())} | {code: Language(tables[code]) for code in tables}


def spoken(languages: Mapping[str, Language], texts: Sequence[str], default: str) -> Language:
    """Return the language of the first text that shows one, else the one named ``default``."""
    # Where two languages may be meant, it is the one of the rest of the conversation.
    said = [next(filter(languages[""].score, texts), ""), "\n".join(texts)]
    codes = sorted(filter(None, languages), key=lambda code: (code != default, code != "en"))
    return max(map(languages.__getitem__, codes), key=lambda one: [*map(one.score, said)])
