"""Reads the repository: its sources as trees, its documents as tables and pieces of code."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: The packages of production.
PACKAGES = sorted({path.parent.name for path in ROOT.glob("*/__init__.py")} - {"bench", "tests"})
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
#: Without the demo, which starts processes of its own and asks them.
SERVICE = [path for path in SOURCES if not path.is_relative_to(ROOT / "demo")]
#: What a document writes as code.
CODE = re.compile(r"`([^`\n]+)`")


@cache
def tree(path: Path) -> ast.Module:
    """Return a source's syntax."""
    return ast.parse(path.read_text())


def relative(path: Path) -> str:
    """Return where a file is in the repository."""
    return str(path.relative_to(ROOT))


@cache
def tracked() -> list[Path]:
    """Return every file of the repository."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists()]


def rows(document: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of the second level, without its head."""
    text = (ROOT / "docs" / document).read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{document} has no section {heading!r}"
    table = re.search(r"(?:^\|.*\n)+", found.group(1), re.MULTILINE)
    assert table, f"docs/{document}, {heading}: no table"
    lines = table.group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(document: str, heading: str) -> list[str]:
    """Return every name in the first column of a table, each as often as it stands there."""
    return [name for row in rows(document, heading) for name in CODE.findall(row[0])]


def column(document: str, heading: str, number: int) -> dict[str, str]:
    """Return a column of a table, by the first name of each row."""
    return {CODE.findall(row[0])[0]: row[number] for row in rows(document, heading)}


def snippet(document: str, begins: str) -> str:
    """Return the indented block that a document says to write somewhere; ``begins``: with what."""
    text = (ROOT / "docs" / document).read_text()
    block = text[text.index(f"\n    {begins}") + 1 :].splitlines(keepends=True)
    lines = takewhile(lambda line: line.startswith("    ") or not line.strip(), block)
    return "".join(line[4:] or "\n" for line in lines)


def documents() -> list[Path]:
    """Return every document, once; the prompts are a model's."""
    written = (path for path in tracked() if path.suffix == ".md" and not path.is_symlink())
    return [path for path in written if "prompts" not in path.parts]


def coded() -> Iterator[tuple[str, str]]:
    """Yield every piece of code in a document, and where it stands."""
    for document in documents():
        yield from ((relative(document), text) for text in CODE.findall(document.read_text()))
