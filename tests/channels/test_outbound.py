"""Sending: where a long text is cut, and what a failed call means."""

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.errors import AdminError, AmbiguousError, PermanentError, TransientError
from channels.outbound import CONNECT_MS_MAX, send_errors, split, units
from httpjson import ANSWER_BYTES_MAX, post_json
from httpjson import Reply as Answer
from tests.http_server import Deed, HttpServer, Reply, closed_port, hang, reset, say

ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))
#: Text with many places where a careless cut would show.
TRICKY = st.lists(
    st.sampled_from(
        [
            *("a", "Ж", "слово", ".", "!", "»", " ", "  ", "\n", "\n\n", "\u00a0", "\t"),
            *("🙂", "👍🏽", "👩\u200d👩\u200d👧", "🇷🇺", "e\u0301", "각", "\u1100\u1161\u11a8"),
        ]
    ),
    max_size=60,
).map("".join)
LIMITS = st.integers(2, 40)


def visible(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(("text", "length"), [("", 0), ("Ж", 1), ("🙂", 2), ("a🙂b", 4)])
def test_length_is_counted_as_messengers_do(text: str, length: int) -> None:
    assert units(text) == length


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("", 10, [""]),
        ("as it is \n", 10, ["as it is \n"]),
        ("one two.\n\nthree four", 14, ["one two.", "three four"]),
        ("line one.\nsecond line", 14, ["line one.", "second line"]),
        ("One is. Two are. Three", 17, ["One is. Two are.", "Three"]),
        ("He said «yes.» Then he left", 18, ["He said «yes.»", "Then he left"]),
        ("word another thirdword", 14, ["word another", "thirdword"]),
        ("word another", 4, ["word", "anot", "her"]),
        ("ab word xx", 7, ["ab word", "xx"]),
        ("ab cd \u0301ef", 7, ["ab", "cd \u0301ef"]),
        ("a.b.c.d.e", 4, ["a.b.", "c.d.", "e"]),
        ("🙂🙂🙂", 5, ["🙂🙂", "🙂"]),
        ("🇷🇺🇰🇿🇬🇪", 6, ["🇷🇺", "🇰🇿", "🇬🇪"]),
        ("ab👍🏽cd", 5, ["ab", "👍🏽c", "d"]),
        ("ae\u0301b", 2, ["a", "e\u0301", "b"]),
        ("a\n\n" + "b" * 12, 10, ["a", "b" * 10, "bb"]),
        ("  \n long gap          here ", 10, ["long gap", "here"]),
    ],
)
def test_long_text_is_cut_where_it_shows_least(text: str, limit: int, parts: list[str]) -> None:
    assert split(text, limit) == parts


def test_paragraph_early_in_a_part_gives_way_to_a_later_sentence() -> None:
    """A short greeting would else cost a message of its own."""
    text = "Hi!\n\n" + "Yes we can. " * 10

    assert split(text, 100)[0].startswith("Hi!\n\nYes we can.")


def test_character_longer_than_the_limit_is_cut_all_the_same() -> None:
    tower = "a" + "\u0301" * 500

    parts = split(tower, 100)

    assert "".join(parts) == tower
    assert max(map(units, parts)) == 100


@pytest.mark.parametrize("limit", [1, 0, -5])
def test_limit_that_holds_no_character_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"limit={limit}: must be at least 2"):
        split("text", limit)


@given(st.one_of(ANY_TEXT, TRICKY), LIMITS)
def test_splitting_loses_nothing_visible_and_keeps_the_limit(text: str, limit: int) -> None:
    parts = split(text, limit)

    assert parts
    assert visible("".join(parts)) == visible(text)
    assert all(units(part) <= limit for part in parts)


@given(TRICKY, LIMITS)
def test_no_part_is_blank_unless_all_of_it_is(text: str, limit: int) -> None:
    assert all(part.strip() for part in split(text, limit)) or not text.strip()


@given(TRICKY, st.integers(8, 40))
def test_character_of_several_code_points_stays_whole(text: str, limit: int) -> None:
    """The longest in these texts has eight units."""
    for part in split(text, limit):
        assert part[:1] not in {"\u200d", "\u0301", "🏽", "\u1161", "\u11a8"}
        assert not part.endswith("\u200d")
        assert sum(letter in "🇷🇺" for letter in part) % 2 == 0


TOKEN = "token-of-the-tests"


def call(http: httpx2.Client, url: str, *, timeout_ms: int = 5_000) -> Answer:
    return post_json(
        http,
        f"{url}/send/secret-path",
        {"text": "words of a customer"},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout_ms=timeout_ms,
        connect_ms_max=CONNECT_MS_MAX,
        errors=send_errors("test"),
    )


def failure(http: httpx2.Client, url: str, *, timeout_ms: int = 5_000) -> AdminError:
    with pytest.raises(AdminError) as caught:
        call(http, url, timeout_ms=timeout_ms)
    return caught.value


def test_call_brings_the_answer(http: httpx2.Client, http_server: HttpServer) -> None:
    http_server.answer(Reply(429, {"id": "x1"}))

    reply = call(http, http_server.url)

    (asked,) = http_server.requests
    assert (reply.status, reply.body) == (429, {"id": "x1"})
    assert asked.json == {"text": "words of a customer"}
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


def test_what_certainly_did_not_leave_may_be_sent_again(http: httpx2.Client) -> None:
    error = failure(http, f"http://127.0.0.1:{closed_port()}")

    assert (type(error), str(error)) == (TransientError, "test_unreachable: ConnectError")


def test_address_that_cannot_be_called_is_permanent(http: httpx2.Client) -> None:
    error = failure(http, "http://[::bad")

    assert (type(error), str(error)) == (PermanentError, "test_request: InvalidURL")


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (reset, "test_broken"),
        (hang, "test_timeout"),
        (say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_BYTES_MAX + 1)), "test_oversized"),
    ],
    ids=["reset", "silence", "huge"],
)
def test_what_may_have_left_is_ambiguous(
    http: httpx2.Client, http_server: HttpServer, deed: Deed, code: str
) -> None:
    http_server.answer(deed)

    error = failure(http, http_server.url, timeout_ms=300 if deed is hang else 5_000)

    assert (type(error), error.code) == (AmbiguousError, code)
