"""The words of a model's answer that are meant for the customer.

Models mark what is not: reasoning, channels, turns, calls of tools. Servers that have no parser for
a notation, or the wrong one, leave it in the text. What is marked as meant for the customer is
kept where that is certain; any other answer with such marks is refused, to be asked for again,
because a guess may show the inner part.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from batching.errors import UnusableAnswerError

#: So many wrappers around one another are taken off; more are no answer.
_WRAPPERS_MAX = 6


class _Kind(Enum):
    """What a mark says of the text behind it."""

    THOUGHT = auto()
    ANSWER = auto()
    CHANNEL = auto()
    #: A turn of the chat begins; whose, says the word behind it.
    HEADER = auto()
    OURS = auto()
    THEIRS = auto()
    END = auto()
    SILENT = auto()
    TOOL = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class _Notation:
    """Marks by their names, small and without other signs; ``source``: who writes them.

    ``side``: "opens" or "closes" for names of which each is one side of a pair; else a slash or a
    bar says it. ``barred``: only between bars, "<|name|>"; without them the word is anybody's.
    """

    names: str
    kind: _Kind
    source: str
    side: str = ""
    barred: bool = False


#: From the models' cards and chat templates, and the parsers of vLLM (reasoning, tool_parsers),
#: SGLang (function_call, reasoning_parser) and llama.cpp (common/chat.cpp).
_NOTATIONS = (
    _Notation("think", _Kind.THOUGHT, "DeepSeek R1, Qwen 3, GLM, Kimi (◁think▷), seed:think"),
    _Notation("thinking thought thoughts antthinking", _Kind.THOUGHT, "Anthropic, Magistral"),
    _Notation("reasoning rationale cot chainofthought", _Kind.THOUGHT, "Phi 4, Reka, prompts"),
    _Notation(
        "reflection scratchpad innermonologue innerthoughts thoughtprocess analysis planning",
        _Kind.THOUGHT, "Reflection 70B; Anthropic's and Google's prompts",
    ),
    _Notation("thinkfast thinkfaster longcatthink", _Kind.THOUGHT, "Hermes, LongCat"),
    _Notation("details", _Kind.THOUGHT, "Open WebUI, for reasoning, calls and code alike"),
    _Notation(
        "beginofthought startthinking innerprefix unused94 thinkstart",
        _Kind.THOUGHT, "Sky-T1, Command A, Apertus, MedGemma", "opens",
    ),
    _Notation(
        "endofthought endthinking innersuffix unused95 thinkend", _Kind.THOUGHT, "these", "closes"
    ),
    _Notation("final finalanswer finalresponse answer", _Kind.ANSWER, "Hunyuan, OpenClaw, R1"),
    _Notation(
        "beginofsolution startresponse starttext beginofbox",
        _Kind.ANSWER, "Sky-T1, Command A", "opens", barred=True,
    ),
    _Notation(
        "endofsolution endresponse endtext endofbox",
        _Kind.ANSWER, "Sky-T1, Command A", "closes", barred=True,
    ),
    _Notation("channel", _Kind.CHANNEL, "gpt-oss (harmony), Gemma 4", barred=True),
    _Notation(
        "imstart start startheaderid headerstart turn startofturntoken",
        _Kind.HEADER, "ChatML, harmony, Llama 3 and 4, Gemma 4, Command R", barred=True,
    ),
    _Notation("startofturn", _Kind.HEADER, "Gemma 2 and 3"),
    _Notation(
        "assistant bot model chatbottoken imassistant",
        _Kind.OURS, "DeepSeek, Phi, GLM, EXAONE, Command R, Kimi K2", barred=True,
    ),
    _Notation("/inst", _Kind.OURS, "Llama 2, Mistral"),
    _Notation(
        "user human usertoken imuser system systemtoken imsystem developer observation tool"
        " ipython",
        _Kind.THEIRS, "the same", barred=True,
    ),
    _Notation("inst systemprompt sys", _Kind.THEIRS, "Llama 2, Mistral"),
    _Notation(
        "imend end return eotid eomid eot eom endoftext endofturntoken endofsentence endofprompt",
        _Kind.END, "ChatML, harmony, Llama 3, GPT-2, Command R, DeepSeek", barred=True,
    ),
    _Notation("s endofturn eos eostoken endoftext", _Kind.END, "Llama 2, Mistral, Gemma"),
    _Notation(
        "beginofsentence beginoftext message endheaderid headerend immiddle constrain pad",
        _Kind.SILENT, "templates of all of these", barred=True,
    ),
    _Notation("bos bostoken /sys", _Kind.SILENT, "Llama 2, Gemma, Command R"),
    _Notation(
        "toolcall toolcalls functioncall functioncalls invoke tooluse toolcode function"
        " toolresponse toolresult toolresults functionresults availabletools",
        _Kind.TOOL, "Qwen, Hermes, GLM, Mistral, MiniMax, Anthropic",
    ),
    _Notation(
        "toolcallsbegin toolcallbegin toolcallssectionbegin toolcallargumentbegin toolsep"
        " toolcallend toolcallsend toolcallssectionend tooloutputsbegin pythontag pythonstart"
        " startaction actionstart plugin call functioncallbegin toolcallstart toolcallsstart"
        " dsmlfunctioncalls dsmltoolcalls dsmlinvoke",
        _Kind.TOOL, "DeepSeek, Kimi K2, Llama 3 and 4, Command A, InternLM, LFM 2", barred=True,
    ),
)  # fmt: skip
_BY_NAME: dict[tuple[str, bool], _Notation] = {
    (name, barred): notation
    for notation in _NOTATIONS
    for name in notation.names.split()
    for barred in ({True} if notation.barred else {True, False})
}
#: Between square brackets people write, too: only these are marks there (Mistral, Llama 2).
_SQUARE = frozenset(
    "think thinking inst /inst toolcalls toolresults availabletools systemprompt".split()
)
#: Channels whose text no customer reads; that of any other is meant for them.
_INNER_CHANNELS = frozenset("analysis commentary thought thinking reasoning".split())
_OUR_ROLES = frozenset("assistant model bot chatbot ai".split())

#: Brackets, bars and low lines of other scripts, each with the ASCII sign that it stands for: one
#: for one, so that places in both texts are the same. "\u2039" is what llm.prompt puts for "<" into
#: the history, and models imitate it.
_ALIKE = str.maketrans(
    "\u2039\u203a\u2329\u232a\u27e8\u27e9\u3008\u3009\ufe64\ufe65\u25c1\u25b7\u3010\u3011"
    "\u2581\u2223\u2502\u01c0\u2758\u00a6",
    "<><><><><><>[]_|||||",
) | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_LT, _GT = r"(?:\\?<|&lt;)", r"(?:\\?>|&gt;)"
_TAG = re.compile(
    rf"{_LT}\s{{0,2}}(?P<slash>/?)\s{{0,2}}(?P<bar>\|?)(?P<late_slash>/?)"
    rf"(?P<name>[a-z][\w.:|-]{{0,60}})(?P<more>[\s=][^<>|]{{0,300}})?(?P<empty>/?)\s{{0,2}}{_GT}"
    r"|\[(?P<square>/?\|?[a-z][a-z_]{2,30}\|?)\]",
    re.IGNORECASE,
)
_CHANNEL = re.compile(
    r"\s*(?P<name>analysis|commentary|final|thought|thinking|reasoning|[a-z]{1,20})?"
    r"(?:[ \t]*(?:to=\S{1,80}|<\|constrain\|>\s*\w+|json|code))*\s*(?:<\|message\|>)?",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"\s{0,3}(?P<role>[a-z_.]{1,40})(?:[ \t]+to=\S{1,80})?\s*"
    r"(?:<\|(?:end_header_id|header_end|im_middle|message)\|>)?",
    re.IGNORECASE,
)
_MIDDLE = re.compile(r"\w{0,20}<\|im_middle\|>", re.IGNORECASE)
#: HTML's mark for what is no longer valid, not the beginning and the end of a text.
_STRUCK = re.compile(r"\S\s*<s>|<s>[^<]*</s>\s*[^\s<\[]", re.IGNORECASE)
_QUOTES = frozenset(("``", '""', "''", "“”", "„“", "«»"))
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def spoken(text: str) -> str:
    """Return what of a model's text is meant for the customer, without the model's markup.

    A text without markup is returned as it is, but for white space around it. Raise
    UnusableAnswerError: ``model_empty`` where nothing is said, ``model_truncated`` where reasoning
    does not end, ``model_tool_call``, ``model_error_text`` for a server's error in place of an
    answer, ``model_markup`` where it is not certain which words are meant.
    """
    said = text.strip()
    for _ in range(_WRAPPERS_MAX):
        before, said = said, _without_json(_without_labels(_without_marks(said)))
        if said == before:
            break
    else:
        raise _refused("wrapped too often")
    if not _says(said):
        raise UnusableAnswerError("model_empty")
    if _is_error(said):
        raise UnusableAnswerError("model_error_text")
    return said


def _refused(what: str) -> UnusableAnswerError:
    return UnusableAnswerError("model_markup", what)


def _says(text: str) -> bool:
    """Return whether ``text`` says something: with a letter, a digit or an emoji."""
    return any(
        unicodedata.category(sign)[0] in "LN"
        or sign >= "\U0001f000"
        or "\u2600" <= sign <= "\u27bf"
        for sign in text
    )


# Marks in brackets.


@dataclass(frozen=True, slots=True)
class _Mark:
    kind: _Kind
    start: int
    end: int
    opens: bool = True
    #: The channel that it opens is inner.
    inner: bool = False


def _marks_in(text: str) -> Iterator[_Mark]:
    """Yield the marks of a text in their order."""
    folded = text.translate(_ALIKE)
    fences = [it.span() for it in _FENCE.finditer(text)] if _says(_FENCE.sub("", text)) else []
    struck = _STRUCK.search(folded) is not None
    done = 0
    for found in _TAG.finditer(folded):
        if found.start() < done:
            continue
        mark = _mark(folded, found)
        if mark is None or (mark.opens and _is_mentioned(folded, found)):
            continue
        in_code = any(start <= found.start() < end for start, end in fences)
        if mark.kind is _Kind.ANSWER and (in_code or not _is_structure(folded, found, done)):
            continue
        if mark.kind is _Kind.END and not found["bar"] and (in_code or struck):
            continue
        done = mark.end
        yield mark


def _mark(folded: str, found: re.Match[str]) -> _Mark | None:
    """Return the mark that a match is, None if it is none."""
    start, end = found.span()
    if found["square"]:
        name = re.sub(r"[^a-z/]", "", found["square"].casefold())
        barred = "|" in found["square"]
        if not barred and name not in _SQUARE and name.lstrip("/") not in _SQUARE:
            return None
        opens = not name.startswith("/")
    else:
        raw = found["name"].casefold()
        name = re.sub(r"[^a-z0-9]", "", raw.rpartition(":")[2])
        barred = bool(found["bar"]) or "|" in raw
        closed = found["slash"] or found["late_slash"] or (raw.endswith("|") and not found["bar"])
        opens = not closed
    notation = _BY_NAME.get((name, barred)) or _BY_NAME.get((name.lstrip("/"), barred))
    if notation is None:
        return _Mark(_Kind.UNKNOWN, start, end) if barred else None
    if notation.side:
        opens = notation.side == "opens"
    if notation.kind is _Kind.THOUGHT and found["empty"]:
        return _Mark(_Kind.SILENT, start, end)
    return _completed(notation.kind, folded, start, end, opens=opens)


def _completed(kind: _Kind, folded: str, start: int, end: int, *, opens: bool) -> _Mark:
    """Return the mark with the words that belong to it: a channel's name, a role."""
    if kind is _Kind.CHANNEL and opens:
        header = _CHANNEL.match(folded, end)
        name = ((header and header["name"]) or "analysis").casefold()
        return _Mark(kind, start, header.end() if header else end, inner=name in _INNER_CHANNELS)
    if kind is _Kind.HEADER:
        role = _ROLE.match(folded, end) if opens else None
        if role is None:
            return _Mark(_Kind.END, start, end)
        ours = role["role"].casefold() in _OUR_ROLES
        return _Mark(_Kind.OURS if ours else _Kind.THEIRS, start, role.end())
    if kind in {_Kind.OURS, _Kind.THEIRS}:
        middle = _MIDDLE.match(folded, end)
        return _Mark(kind, start, middle.end() if middle else end)
    return _Mark(kind, start, end, opens)


def _is_mentioned(folded: str, found: re.Match[str]) -> bool:
    """Return whether a mark stands in quotation marks or as code: it is spoken of."""
    start, end = found.span()
    return start > 0 and folded[start - 1 : start] + folded[end : end + 1] in _QUOTES


def _is_structure(folded: str, found: re.Match[str], done: int) -> bool:
    """Return whether a mark stands where one that wraps the answer does.

    Between bars anywhere; else at the beginning of a line or behind another mark, or, closing, at
    the end of all. ``done``: where the last mark ended.
    """
    if found["bar"]:
        return True
    before = folded[done : found.start()].rpartition("\n")[2]
    ends = folded.rstrip().endswith(f"</{found['name']}>")
    return ends or not before.strip() or bool(found["slash"])


@dataclass(slots=True)
class _Reader:
    """Reads a text from mark to mark, and sorts its words."""

    text: str
    at: int = 0
    depth: int = 0
    channel: str = ""
    #: Words outside of thoughts by turn, and those marked as the answer.
    turns: list[list[str]] = field(default_factory=lambda: [[]])
    answers: list[str] = field(default_factory=list)
    wrapped: bool = False
    #: Whether the present turn says something outside of answers.
    said: bool = False
    #: A turn of another began: what follows is invented.
    ended: bool = False

    def take(self, mark: _Mark) -> None:
        """Read up to ``mark`` and do what it says. Raise UnusableAnswerError."""
        self.collect(mark.start)
        self.at = mark.end
        if self.ended:
            return
        if mark.kind is _Kind.THOUGHT:
            self._think(opens=mark.opens)
        elif not self.depth:
            self._turn(mark)

    def collect(self, end: int) -> None:
        """Sort the words up to ``end``."""
        piece = self.text[self.at : end]
        if self.ended or self.depth or self.channel == "inner":
            return
        if self.wrapped:
            self.answers[-1] += piece
        else:
            self.turns[-1].append(piece)
            self.said = self.said or _says(piece)

    def _think(self, *, opens: bool) -> None:
        if opens:
            self.depth += 1
        elif self.depth:
            self.depth -= 1
        else:
            # The template opened it in the prompt: all that stands before is reasoning.
            self.turns, self.said = [[]], False

    def _turn(self, mark: _Mark) -> None:
        match mark.kind:
            case _Kind.CHANNEL | _Kind.ANSWER:
                self._open_answer(mark)
            case _Kind.THEIRS if self.said or self._is_over() or self.answers:
                self.ended = True
            case _Kind.THEIRS:
                raise _refused("begins with another's turn")
            case _Kind.END | _Kind.OURS:
                self.channel, self.wrapped = "", False
                if self.said:
                    self.turns.append([])
                    self.said = False
            case _Kind.TOOL if self.channel != "inner" and not self._is_over():
                raise UnusableAnswerError("model_tool_call")
            case _Kind.UNKNOWN if self.channel != "inner" and not self._is_over():
                raise _refused("a mark that is not known")

    def _open_answer(self, mark: _Mark) -> None:
        if not mark.opens and mark.kind is _Kind.CHANNEL and not self.channel:
            self._think(opens=False)
            return
        if mark.opens and mark.kind is _Kind.CHANNEL:
            self.channel = "inner" if mark.inner else "answer"
            self.wrapped = not mark.inner
        else:
            self.channel, self.wrapped = "", mark.opens
        if self.wrapped:
            self.answers.append("")
        elif mark.kind is _Kind.ANSWER and not self.answers:
            # The template opened it in the prompt.
            self.answers.append("".join(self.turns[-1]))

    def _is_over(self) -> bool:
        """Return whether the first turn with words has ended: the rest is invented."""
        return len(self.turns) > 1

    def result(self) -> str:
        """Return the words for the customer. Raise UnusableAnswerError."""
        self.collect(len(self.text))
        if self.depth or (self.channel == "inner" and not self.answers):
            raise UnusableAnswerError("model_truncated", "reasoning without an end")
        answers = {it.strip() for it in self.answers} - {""}
        if len(answers) > 1:
            raise _refused("several answers")
        return answers.pop() if answers else "".join(self.turns[0]).strip()


def _without_marks(text: str) -> str:
    """Return ``text`` without marks and what they mark as inner. Raise UnusableAnswerError."""
    whole = _WRAPPED.match(text)
    if whole:
        return (whole["fenced"] or whole["tagged"] or "").strip()
    reader, marks = _Reader(text), list(_marks_in(text))
    for mark in marks:
        reader.take(mark)
    return _EMPTY_FENCE.sub("", reader.result()).strip() if marks else text


#: What a fence or bold around reasoning leaves.
_EMPTY_FENCE = re.compile(r"```[a-z]{0,20}\s*```|\*\*\s*\*\*", re.IGNORECASE)
#: A whole answer in a fence of text or in a tag that only prompts give.
_WRAPPED = re.compile(
    r"\A(?:```(?:markdown|md|text|txt|plaintext)\n(?P<fenced>(?:(?!```).)*)```"
    r"|<(?P<tag>response|reply|output|message|result|speak|assistant)\b[^<>]{0,100}>(?P<tagged>.*)</(?P=tag)>)\s*\Z",
    re.DOTALL | re.IGNORECASE,
)


# Marks in words, at the beginning of lines.


def _line(words: str) -> str:
    """Return a pattern of a label that begins a line, bold or a heading or neither."""
    return (
        rf"^[ \t]*(?:\#{{1,6}}[ \t]*)?(?:\*\*|__|\[)?(?:{words})(?:\*\*|__|\])?"
        r"[ \t]*[:：](?:\*\*|__)?[ \t]*"
    )


_FLAGS = re.IGNORECASE | re.MULTILINE
_US = (
    "(?:ai[ -])?assistant|ai|(?:chat)?bot|receptionist|ассистент|помощник|бот|администратор"
    "|assistent|asistente|assistente|asystent|asistan|көмекші|助手|المساعد"
)
_THEM = (
    "customer|client|user|human|клиент|пользователь|покупатель|kunde|kundin|nutzer|benutzer"
    "|cliente|usuario|usuário|utilisateur|klient(?:ka)?|użytkownik|müşteri|клиентка|客户|用户|العميل"
)
#: Alpaca's template, which models without one of their own are given.
_ALPACA = r"^[ \t]*\#{{2,4}}[ \t]*(?:{})[ \t]*[:：][ \t]*"
_OUR_TURN = re.compile(rf"{_line(_US)}|{_ALPACA.format('response')}", _FLAGS)
_THEIR_TURN = re.compile(rf"{_line(_THEM)}|{_ALPACA.format('instruction|input')}", _FLAGS)
#: A prompt that is repeated before a dialogue.
_SYSTEM_TURN = re.compile(rf"\A{_line('system')}[^\n]*\n+(?={_line('user|human')[1:]})", _FLAGS)
#: A fact of a booking has the same label and a name behind it; words of a turn are a sentence.
_SENTENCE = re.compile(
    r"[^\n]*[?!.…؟。？！][)\"»”]?[ \t]*$|(?:\S+[ \t]+){3}\S|[ \t]*\n", re.MULTILINE
)
#: The words of programs: no business calls people so.
_PROGRAMS_TURN = re.compile(
    rf"\A(?:{_line('user|human|(?:ai )?assistant|ai|(?:chat)?bot|пользователь|ассистент|用户')}"
    rf"|{_ALPACA.format('response|instruction|input')})",
    _FLAGS,
)
_LABEL = re.compile(r"^[ \t]*[*_\[#]{0,6}[ \t]?[^\W\d_][^\n:：\d]{0,30}[:：]", re.MULTILINE)
_ASKS = ("?", "!", ".", "؟", "？", "！", "。")
#: What begins with the first is inner up to the last of the second (IBM Granite 3.2; ReAct, as
#: LangChain prompts it; prompts that ask for reasons first).
_REASONS_FIRST = tuple(
    (re.compile(rf"\A{begin}", _FLAGS), re.compile(end, _FLAGS))
    for begin, end in (
        (r"Here(?:'s| is) my thought process:", r"Here(?:'s| is) my response:"),
        (
            _line("thoughts?|thinking|reasoning|thought process|internal monologue|chain of thought"
                  "|мысли|рассуждени[ея]|размышления?|überlegung(?:en)?|gedanken|razonamiento|raisonnement"),
            _line("(?:final )?(?:answer|response|reply)|(?:окончательный )?ответ|antwort|respuesta"
                  "|réponse(?: finale)?"),
        ),
    )
)  # fmt: skip
#: The same where a server left the tokens out: "analysisWe need …assistantfinalHello" (gpt-oss),
#: "thought\nThe customer …" (Gemma).
_BARE_FINAL = re.compile(r"assistant\s?final(?=[^\Wa-z_]|\W)")
_BARE_INNER = re.compile(
    r"\A(?:assistant\s?)?(?:(?:analysis|commentary)(?=[^\Wa-z_\d])|(?:thought|thinking|analysis)\n)"
)
_BARE_OURS = re.compile(r"\A(?:assistant|model)\n+")
_CALL_IN_WORDS = re.compile(
    r"^Action:[ \t]*\S.*\n+[ \t]*Action Input:"  # ReAct
    r"|\A\[\w+\([^\n]*\)\]\Z|\bto=functions\.\w"  # Llama 4, gpt-oss
    r"|\bfunctools\[|\bdefault_api\.\w+\("  # Phi 4, Gemini
    r"|^```tool_(?:code|call)\b|\A(?:call|print)[:(]\w+[({]"  # Gemma
    r"|\A\w+\([^\n]*=[^\n]*\)\Z",
    _FLAGS,
)


#: Of HTML and Markdown: nobody is shown it.
_COMMENT = re.compile(r"<!--(?:(?!-->).)*(?:-->|\Z)", re.DOTALL)


def _without_labels(text: str) -> str:
    """Return ``text`` without reasons before the answer, and without turns that were invented.

    Raise UnusableAnswerError.
    """
    text = _COMMENT.sub("", text).strip() if "<!--" in text else text
    finals = list(_BARE_FINAL.finditer(text))
    if finals:
        return text[finals[-1].end() :].strip()
    if _BARE_INNER.match(text):
        raise UnusableAnswerError("model_truncated", "reasoning without an end")
    text = _BARE_OURS.sub("", text)
    for begin, end in _REASONS_FIRST:
        if begin.match(text):
            ends = list(end.finditer(text))
            if not ends:
                raise _refused("reasons without an answer")
            return text[ends[-1].end() :].strip()
    if _CALL_IN_WORDS.search(text):
        raise UnusableAnswerError("model_tool_call")
    return _first_turn(text)


def _first_turn(text: str) -> str:
    """Return our first turn of a dialogue, ``text`` where it is none. Raise UnusableAnswerError."""
    text = _SYSTEM_TURN.sub("", text)
    ours, theirs = list(_OUR_TURN.finditer(text)), list(_THEIR_TURN.finditer(text))
    if not _is_dialogue(text, len(ours) + len(theirs)):
        ours = [it for it in ours if _SENTENCE.match(text, it.end())]
        theirs = [it for it in theirs if _SENTENCE.match(text, it.end())]
    begins_ours = bool(ours) and not text[: ours[0].start()].strip()
    if theirs and not text[: theirs[0].start()].strip():
        if len(ours) != 1:
            raise _refused("begins with another's turn")
        text, theirs = text[ours[0].end() :], []
    elif theirs and (ours or _is_asked(text, theirs[0]) or _is_apart(text, theirs[0])):
        text = text[: theirs[0].start()]
    elif not begins_ours:
        return text
    return _OUR_TURN.sub("", text, count=1).strip() if begins_ours else text.strip()


def _is_dialogue(text: str, turns: int) -> bool:
    """Return whether ``text`` begins as programs write a dialogue, and has no other labels."""
    return bool(_PROGRAMS_TURN.match(text)) and len(_LABEL.findall(text)) == turns


def _is_asked(text: str, label: re.Match[str]) -> bool:
    """Return whether a turn of theirs asks something and one of ours follows."""
    line = text[label.end() :].partition("\n")[0].rstrip()
    return line.endswith(_ASKS) and _OUR_TURN.search(text, label.end()) is not None


def _is_apart(text: str, label: re.Match[str]) -> bool:
    """Return whether a label stands in a paragraph of its own, as the facts of a booking do not."""
    paragraph = text[label.start() :].partition("\n\n")[0]
    before = text[: label.start()]
    return before.endswith("\n\n") and paragraph.count("\n") == 0


# Answers in JSON.

#: Names of fields that hold the answer where a prompt or a server asks for JSON.
_ANSWER_FIELDS = frozenset(
    "answer finalanswer final response finalresponse reply message text content output result"
    " actioninput assistant".split()
)
_INNER_FIELDS = frozenset(
    "thought thoughts thinking reasoning analysis reasoningcontent chainofthought action"
    " tool".split()
)
_CALL_FIELDS = frozenset("name tool toolname function functionname action".split())
_ARGUMENT_FIELDS = frozenset("arguments parameters args input toolinput actioninput".split())
_CALLS = frozenset("toolcalls functioncall toolcall functioncalls tooluse".split())
_OBJECT = re.compile(r"[\[{]")
_OBJECTS_MAX = 20
_BROKEN = re.compile(
    r"""\A[\[\s]*\{\s*["'](?:answer|final_?answer|response|reply|thoughts?|thinking|reasoning|tool"""
    r"""|tool_?calls?|function|action|error)["']\s*:""",
    re.IGNORECASE,
)
_FENCED = re.compile(
    r"\A(?P<before>.*?)```(?:json5?)?[ \t]*\n(?P<code>.*?)\s*```\Z", re.DOTALL | re.IGNORECASE
)


def _without_json(text: str) -> str:
    """Return the answer out of JSON, ``text`` where it holds none. Raise UnusableAnswerError."""
    if not _OBJECT.search(text):
        return text
    fenced = _FENCED.match(text)
    before, code = (fenced["before"], fenced["code"]) if fenced else ("", text)
    value = _decoded(code.strip())
    if value is None:
        return _embedded(text)
    found = _answer_in(value)
    # Behind words of its own it may be code for a customer.
    return text if found is None or (_says(before) and not _is_answer(value)) else found


def _embedded(text: str) -> str:
    """Return the answer of JSON behind other words, ``text`` without. Raise UnusableAnswerError."""
    if _BROKEN.match(text):
        raise _refused("broken JSON")
    decoder = json.JSONDecoder(strict=False)
    for start in [it.start() for it in _OBJECT.finditer(text)][:_OBJECTS_MAX]:
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        found = _answer_in(value) if isinstance(value, dict) and _is_answer(value) else None
        if found is not None:
            if text[end:].strip():
                raise _refused("words around JSON")
            return found
        if _is_call(value):
            raise UnusableAnswerError("model_tool_call")
    return text


def _decoded(code: str) -> dict[Any, Any] | list[Any] | None:
    """Return the object or list that ``code`` is, as JSON or as Python prints it; else None."""
    if code[:1] + code[-1:] not in {"{}", "[]"}:
        return None
    try:
        value = json.loads(code, strict=False)
    except (ValueError, RecursionError):
        value = None
    try:
        value = value or ast.literal_eval(code)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, dict | list) else None


def _fields(value: dict[Any, Any]) -> dict[str, Any]:
    return {re.sub(r"[^a-z]", "", str(name).casefold()): it for name, it in value.items()}


def _is_call(value: object) -> bool:
    """Return whether a value is a call of a tool, or a list with one."""
    if isinstance(value, list):
        return any(map(_is_call, value))
    if not isinstance(value, dict):
        return False
    fields = _fields(value)
    names = [fields[name] for name in _CALL_FIELDS & fields.keys()]
    named = any(isinstance(it, str) and re.fullmatch(r"[\w.:-]+", it) for it in names)
    is_final = "final" in str(fields.get("action", "")).casefold()
    called = named and not is_final and bool(_ARGUMENT_FIELDS & fields.keys())
    return called or any(map(_is_call, names)) or any(fields.get(name) for name in _CALLS)


def _is_answer(value: object) -> bool:
    """Return whether an object has a field that holds an answer and nothing else."""
    names = _fields(value).keys() if isinstance(value, dict) else ()
    return bool({"answer", "finalanswer", "finalresponse", "reply", "response"} & set(names))


def _answer_in(value: object) -> str | None:
    """Return the only answer in a value, None if it holds no field of one.

    Raise UnusableAnswerError for a call of a tool, several answers, or inner fields alone.
    """
    if _is_call(value):
        raise UnusableAnswerError("model_tool_call")
    if isinstance(value, list):
        texts = [
            it.get("text") for it in value if isinstance(it, dict) and it.get("type") == "text"
        ]
        if texts and len(texts) == len(value) and all(isinstance(it, str) for it in texts):
            return "".join(map(str, texts))
        return _answer_in(value[0]) if len(value) == 1 else None
    if not isinstance(value, dict):
        return None
    fields = _fields(value)
    nested = [fields[it] for it in ("choices", "message", "response", "data") if it in fields]
    answers = {it for name, it in fields.items() if name in _ANSWER_FIELDS and isinstance(it, str)}
    deeper = (_answer_in(it) for it in nested if isinstance(it, dict | list))
    answers = {it.strip() for it in (*answers, *filter(None, deeper))}
    if len(answers) == 1:
        return answers.pop()
    if answers or _INNER_FIELDS & fields.keys():
        raise _refused("several answers" if answers else "no answer")
    if "error" in fields:
        raise UnusableAnswerError("model_error_text")
    return None


# Errors of servers in place of an answer.

_ERROR = re.compile(
    r"\A\W{0,3}(?:[\w.]{0,60}(?:error|timeout|exception)|fatal|ошибка|fehler|erreur|errore|erro|błąd"
    r"|hata)\b[^\n:]{0,30}(?:[:：\]–-]|\Z)",
    re.IGNORECASE,
)
_TECHNICAL = re.compile(
    r"upstream|time[d ]?-? ?out|timeout|connect|server|gateway|request|respon[sd]|rate.?limit|quota"
    r"|\bapi\b|token|model|internal|\bhttp|status|\b[45]\d\d\b|overload|unavailable|exception|\bnull\b|none"
    r"|undefined|unexpected|failed|failure|invalid|fetch|socket|econn|\bssl\b|dns|memory|context"
    r"|сервер|запрос|тайм|соединени|превышен|anfrage|zeit|verbindung|délai|serveur|tiempo|servidor",
    re.IGNORECASE,
)
#: Whole answers, and beginnings before a sign of punctuation.
_FAILED = re.compile(
    r"\A\W{0,3}(?:(?:oops|sorry)\W{1,3})?(?:timeout|timed out|http \d{3}[^\n]*"
    r"|(?:\d{3} )?(?:internal (?:server )?error|bad gateway"
    r"|service (?:temporarily )?unavailable|gateway time-?out|too many requests"
    r"|unauthorized|forbidden|not found|bad request)"
    r"|upstream (?:request |connect |server )?(?:error|timeout|timed out|failed)[^\n]*"
    r"|(?:request|operation|connection|read|the request) (?:timed out|timeout"
    r"|refused|reset|aborted)"
    r"[^\n]*"
    r"|rate limit (?:reached|exceeded)[^\n]*|an (?:unexpected |internal )?error (?:has )?occurred"
    r"(?: (?:while|during|when) [^\n]*)?|something went wrong"
    r"|failed to (?:generate|get|fetch|create|process) [^\n]*"
    r"|(?:maximum )?context length exceeded[^\n]*"
    r"|(?:the )?(?:server|model|engine) is (?:currently )?(?:overloaded|busy|loading)"
    r"(?:[.,;][^\n]*)?"
    r"|no (?:response|output|content|answer)(?: (?:generated|available|from [^\n]*))?"
    r"|null|none|undefined|nan|true|false|\[object object\]|traceback \(most recent call last\).*"
    r"|<!doctype html.*|<html.*|<\?xml.*)\W*\Z",
    re.IGNORECASE | re.DOTALL,
)
_ERROR_LENGTH_MAX = 400


def _is_error(text: str) -> bool:
    """Return whether ``text`` is a server's error: by its beginning and its technical words."""
    if _FAILED.match(text):
        return True
    found = _ERROR.match(text)
    if found is None or len(text) > _ERROR_LENGTH_MAX:
        return False
    rest = text[found.end() :]
    return not _says(rest) or bool(_TECHNICAL.search(text, found.start() + 5))
