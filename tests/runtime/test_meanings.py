"""Whatever the code can tell a person of has words, and a section of the runbook that exists."""

import ast
import re
from collections.abc import Iterator

from batching.errors import AdminError
from batching.model import Dependency
from channels import CHANNELS
from runtime.meanings import codes, events, kinds, meaning
from tests.repository import ROOT, SOURCES, relative, tree

#: Calls that take a code → where among their arguments it stands.
CODED = {
    "RefusalError": 1,
    "Refusal": 0,
    "bad_request": 0,
    "not_understood": 1,
    "unknown": 0,
    "give_up": 1,
    "dead_letter": 3,
}


def classes(of: type[AdminError] = AdminError) -> Iterator[str]:
    """Yield the names of every error that bears a code."""
    yield of.__name__
    for below in of.__subclasses__():
        yield from classes(below)


def constants(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an argument may be."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*constants(body), *constants(orelse))


def coded() -> Iterator[tuple[str, str]]:
    """Yield every code that stands in the code as such, and where."""
    places = CODED | dict.fromkeys(classes(), 0)
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            place = places.get(ast.unparse(node.func).rpartition(".")[2], -1)
            if 0 <= place < len(node.args):
                where = f"{relative(path)}:{node.lineno}"
                yield from ((code, where) for code in constants(node.args[place]))
    for path in (ROOT / "batching" / "lua").glob("*.lua"):
        found = re.findall(r'"([a-z]+_(?:missing|full))"', path.read_text())
        yield from ((code, relative(path)) for code in found)


def made() -> Iterator[str]:
    """Yield codes that are put together, or read from a table."""
    yield from (f"{of}_stopped" for of in Dependency)
    for status in range(300, 1000):
        yield f"model_{status}"
    for provider in CHANNELS.values():
        yield from provider.codes
        if provider.prefix:
            yield from (f"{provider.prefix}_http_{status}" for status in range(300, 600))
            yield from (
                f"{provider.prefix}_{failure}"
                for failure in ("request", "unreachable", "timeout", "broken", "oversized")
            )


def test_every_code_has_words() -> None:
    found = dict(coded()) | dict.fromkeys(made(), "made")

    assert {code: where for code, where in found.items() if meaning(code) is None} == {}
    assert {"model_recited", "broken_json", "worker_died", "batch_missing"} <= set(found)


def test_words_stand_in_a_sentence() -> None:
    """They begin in lower case, but for names, and bring no full stop of their own."""
    own = {name: it for name, it in events().items() if not it.kind}
    rows = {**kinds(), **codes(), **own}

    assert [
        name
        for name, it in rows.items()
        for text in (it.says, it.to_do)
        if text[-1] in ".;: " or (text[0].isupper() and text.split()[0] not in {"Redis", "Sentry"})
    ] == []
