"""What of an answer is fit to be sent."""

import pytest

from batching.errors import UnusableAnswerError
from llm.client import clean, visible


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("a\x00b\x1b[31mc\x9bd", "ab[31mcd"),
        ("zero\u200b\u200c\u200d\u2060\ufeffwidth", "zerowidth"),
        ("\u202egnp.exe\u202c \u2066x\u2069\u200e\u200f", "gnp.exe x"),
        ("Hi\U000e0049\U000e0067\U000e006e", "Hi"),
        ("👍\U000e0100\U000e01ef", "👍"),
        ("soft\u00adhyphen\u034f\u3164", "softhyphen"),
        ("private\ue000\U0010fffd", "private"),
        ("a\u2028b\u2029c\r\nd\re\x85f", "a\nb\nc\nd\ne\nf"),
        ("evil\u200d.com, \u200dstart end\u200d", "evil.com, start end"),
        ("👩\u200d\u200d\u200d👧", "👩\u200d👧"),
    ],
)
def test_what_cannot_be_seen_goes(said: str, seen: str) -> None:
    assert visible(said) == seen
    assert visible(visible(said)) == seen


@pytest.mark.parametrize(
    "said",
    [
        "Tab\tand\nline",
        "👩\u200d👩\u200d👧, ❤\ufe0f, 1\ufe0f\u20e3",
        "می\u200cخواهم",
        "क्\u200dष",
        "Ünïcödé, привет, 你好, 안녕",
    ],
)
def test_what_scripts_and_emoji_need_stays(said: str) -> None:
    assert visible(said) == said


def test_answer_of_nothing_visible_is_empty() -> None:
    with pytest.raises(UnusableAnswerError, match="model_empty"):
        clean("\u200b\u2060\U000e0041 \u200d")
