"""News of an account itself, that its provider reports: its channel is dead, in danger, or well."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from batching.model import Gravity, Notice
from channels.explained import Explained


@dataclass(frozen=True, slots=True)
class News:
    """What an event means, in plain words, and what to do about it; "" where nothing is to do."""

    gravity: Gravity
    says: str = ""
    advice: str = ""

    @property
    def explained(self) -> Explained:
        """Return it as the words for a code."""
        return Explained(self.says, self.advice or "nothing")


def noticed(account_id: str, name: str, news: News) -> Notice:
    """Return the notice of ``news``; ``name``: a constant code, which logs and alerts show."""
    words = filter(None, (news.says, news.advice))
    detail = ": ".join((name, *words)) if news.says else ""
    return Notice(account_id, name, news.gravity, detail)


def by_name(prefix: str, rows: Mapping[News, Iterable[str]]) -> dict[str, tuple[str, News]]:
    """Return the code and the news of each name of a provider's.

    Names are compared without case and signs: providers do not agree with themselves. A code is
    ``prefix`` and the name so written.
    """
    return {
        plain_name(name): (f"{prefix}{plain_name(name)}", news)
        for news, names in rows.items()
        for name in names
    }


def plain_name(name: str) -> str:
    """Return a name in lower case, letters and digits alone."""
    return "".join(filter(str.isalnum, name.lower()))
