"""Markdown, which models write whatever they are told, as the marks that WhatsApp shows, or none.

WhatsApp's marks: ``*bold*``, ``_italic_``, ``~struck~``, `` `code` ``, lists and quotes as in
Markdown (https://faq.whatsapp.com/539178204879377). A text without Markdown stays as it is, byte
for byte, and so does one with WhatsApp's own marks.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from batching.model import Answer, Exchange
from batching.ports import Model

Formatting = Literal["whatsapp", "plain"]

_MARKS: Mapping[Formatting, Mapping[str, str]] = {
    "whatsapp": {"strong": "*", "em": "_", "s": "~", "code": "`"},
    "plain": {"strong": "", "em": "", "s": "", "code": ""},
}
#: HTML's names for the same; of other tags nothing is known, and they stay.
_TAGS = {
    "b": "strong", "strong": "strong", "i": "em", "em": "em", "s": "s", "del": "s", "strike": "s",
    "code": "code",
}  # fmt: skip
_TAG = re.compile(r"<(?P<closes>/?)(?P<name>[a-z]+)\s*/?>", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|www\.", re.IGNORECASE)
_REST = re.compile(r"://[^\s<>\"`*()\[\]]+")
_SCHEME = re.compile(r"(?:https?://|mailto:|tel:)?(?:www\.)?(.*?)/?", re.IGNORECASE | re.DOTALL)
#: Stands for an end of a line of the source.
_LINE = "\0"
#: Between cells: never a sign that joins the digits of neighbours to a telephone number.
_CELL = " | "


class Formatted:
    """Implements the Model port: the answers of ``model`` in the marks of a channel."""

    def __init__(self, model: Model, formatting: Formatting) -> None:
        self.model = model
        self._formatting = formatting

    def answer(self, history: Sequence[Exchange], turn: str, *, now_ms: int) -> Answer:
        """Return the model's answer, formatted. Raise what the model raises."""
        answer = self.model.answer(history, turn, now_ms=now_ms)
        return replace(answer, text=formatted(answer.text, self._formatting) or answer.text)


def formatted(text: str, formatting: Formatting) -> str:
    """Return ``text`` with its Markdown as the marks of ``formatting``; "plain" has none.

    Headings become bold lines, rows of tables lines, links "words: address". A text without
    Markdown is returned as it is.
    """
    tokens = _parser().parse(text)
    renderer = _Renderer(text, formatting)
    rendered = renderer.render(tokens)
    if not renderer.found:
        return text
    if formatting == "plain":
        return rendered
    # It is Markdown, so one star is italic; alone it may be WhatsApp's bold.
    return _Renderer(text, formatting, italic_star=True).render(tokens)


@cache
def _parser() -> MarkdownIt:
    """Return a parser without what people write by chance: indented code, underlined headings."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.disable(["code", "lheading", "reference", "html_block"])
    parser.inline.ruler.before("escape", "address", _take_address)
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    return parser


def _take_address(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - the parser's port
    """Take the rest of an address as text: its signs are no marks."""
    found = _REST.match(state.src, state.pos)
    if found is None:
        return False
    if not silent:
        state.pending += found[0]
    state.pos = found.end()
    return True


class _Renderer:
    """Renders the tokens of a text; ``found``: whether there was anything to convert."""

    def __init__(self, text: str, formatting: Formatting, *, italic_star: bool = False) -> None:
        self._source = text.split("\n")
        self._marks = _MARKS[formatting]
        self._plain = formatting == "plain"
        self._italic_star = italic_star
        self._lines: list[str] = []
        self._next = 0
        self._table_end = 0
        self.found = False

    def render(self, tokens: Sequence[Token]) -> str:
        """Return the text; call it once."""
        rows = list[list[str]]()
        for token, before in zip(tokens, [None, *tokens], strict=False):
            match token.type:
                case "table_open" if token.map:
                    self._skip_to(token.map[0])
                    self._table_end, rows = token.map[1], []
                case "tr_open":
                    rows.append([])
                case "inline" if before and before.type in {"th_open", "td_open"}:
                    words = self._inline(token.children or [])
                    rows[-1].append(" ".join(words.replace(_LINE, " ").split()))
                case "table_close":
                    self._put_table(rows)
                case "inline":
                    heading = before is not None and before.type == "heading_open"
                    self._put_inline(token, heading=heading)
                case "fence":
                    self._put_fence(token)
        self._skip_to(len(self._source))
        return "\n".join(self._lines)

    def _skip_to(self, line: int) -> None:
        """Copy the source up to ``line``."""
        self._lines += self._source[self._next : line]
        self._next = max(self._next, line)

    def _put_table(self, rows: list[list[str]]) -> None:
        self.found = True
        head, *body = rows
        lines = [_CELL.join(cell or "-" for cell in row).strip() for row in body]
        if any(head):
            lines.insert(0, self._bold(_CELL.join(head).strip()))
        self._lines += lines
        self._next = self._table_end

    def _put_inline(self, token: Token, *, heading: bool) -> None:
        if not token.map:
            return
        start, end = token.map
        self._skip_to(start)
        said = token.content.split("\n")
        words = self._inline(token.children or [], bold=not heading)
        pieces = words.split(_LINE)
        prefixes = [
            source[: source.rfind(line.strip())] if line.strip() in source else ""
            for source, line in zip(self._source[start:end], said, strict=False)
        ]
        if heading and words.strip():
            self.found = True
            before = re.sub(r"#{1,6}[ \t]*\Z", "", prefixes[0])
            self._lines.append(before + self._bold(words.replace(_LINE, " ").strip()))
        elif len(pieces) == len(prefixes):
            self._lines += [before + piece for before, piece in zip(prefixes, pieces, strict=True)]
        else:
            self._lines.append("".join(prefixes[:1]) + words.replace(_LINE, "\n"))
        self._next = end

    def _put_fence(self, token: Token) -> None:
        if not token.map:
            return
        start, end = token.map
        self._skip_to(start)
        if not self._plain and token.markup.startswith("```") and not token.info.strip():
            self._skip_to(end)
            return
        self.found = True
        code = token.content.removesuffix("\n").split("\n")
        self._lines += code if self._plain else ["```", *code, "```"]
        self._next = end

    def _bold(self, words: str) -> str:
        return self._marked("strong", words) if words else ""

    def _inline(self, children: Sequence[Token], *, bold: bool = True) -> str:
        """Return the words of an inline, with _LINE for the ends of its lines."""
        opened: list[tuple[str, str, list[str]]] = [("", "", [])]
        for place, token in enumerate(children):
            kind, closes = _kind(token)
            pieces = opened[-1][2]
            if kind and not closes:
                opened.append((kind, token.attrGet("href") or token.markup or token.content, []))  # type: ignore[arg-type]
            elif kind and opened[-1][0] == kind:
                _, markup, inner = opened.pop()
                outer = opened[-1][2]
                before = next((it[-1] for it in reversed(outer) if it), "")
                after = _first_sign(children, place + 1)
                words = "".join(inner)
                if kind == "link":
                    outer.append(self._link(words, markup, after))
                elif kind == "strong" and not bold:
                    self.found = True
                    outer.append(words)
                else:
                    outer.append(self._emphasis(kind, markup, words, before, after))
            else:
                pieces.append(self._leaf(token))
        # A tag of HTML that is not closed stays as it was.
        while len(opened) > 1:
            _, markup, inner = opened.pop()
            opened[-1][2].extend([markup, *inner])
        return "".join(opened[0][2])

    def _leaf(self, token: Token) -> str:
        match token.type:
            case "softbreak" | "hardbreak":
                return _LINE
            case "code_inline":
                if not self._plain and token.markup in {"`", "```"}:
                    return f"{token.markup}{token.content}{token.markup}"
                self.found = True
                return f"{self._marks['code']}{token.content}{self._marks['code']}"
            case "image":
                self.found = True
                return self._link(token.content, str(token.attrGet("src") or ""), "")
            case "html_inline" if re.fullmatch(r"<br\s*/?>", token.content, re.IGNORECASE):
                self.found = True
                return "\n"
        return token.content

    def _emphasis(self, kind: str, markup: str, words: str, before: str, after: str) -> str:
        """Return words in the mark of their kind, where a reader's program would take it for one.

        Inside of a word none does: 5*6*7 stays, and what was certainly meant as bold is plain.
        """
        inside = before.isalnum() or after.isalnum()
        known = not inside and (self._plain or self._italic_star)
        if kind == "em" and markup in {"*", "_"} and not known:
            return f"{markup}{words}{markup}"
        self.found = True
        return words if inside else self._marked(kind, words)

    def _marked(self, kind: str, words: str) -> str:
        """Return words in a mark, each line by itself; an address stays without, to be followed."""
        mark = self._marks[kind]
        if _ADDRESS.search(words):
            return words
        return re.sub(
            rf"[^\n{_LINE}]+",
            lambda it: f"{mark}{it[0].strip()}{mark}" if it[0].strip() else it[0],
            words,
        )

    def _link(self, words: str, address: str, after: str) -> str:
        """Return "words: address", only one of them where both say the same."""
        self.found = True
        shown = re.sub(r"\A(?:mailto:|tel:)", "", address, flags=re.IGNORECASE)
        digits = re.sub(r"\D", "", words)
        number = address.casefold().startswith("tel:") and digits == re.sub(r"\D", "", address)
        if number or _bare(words) == _bare(address):
            link = words
        else:
            link = f"{words}: {shown}" if words.strip() else shown
        return f"{link} " if after.isalnum() or after == "/" else link


def _kind(token: Token) -> tuple[str, bool]:
    """Return the kind of mark that a token opens or closes, "" for none, and whether it closes."""
    if token.nesting:
        return token.type.rpartition("_")[0], token.nesting < 0
    tag = _TAG.fullmatch(token.content) if token.type == "html_inline" else None
    return (_TAGS.get(tag["name"].casefold(), ""), bool(tag["closes"])) if tag else ("", False)


def _first_sign(children: Sequence[Token], start: int) -> str:
    """Return the sign that is shown first from a token on, "" if none or no letter is certain."""
    for token in islice(children, start, None):
        if token.type in {"softbreak", "hardbreak"}:
            return ""
        if token.content and not token.nesting:
            return "" if token.type in {"html_inline", "code_inline"} else token.content[0]
    return ""


def _bare(address: str) -> str:
    found = _SCHEME.fullmatch(address.strip())
    return found[1].casefold() if found else ""
