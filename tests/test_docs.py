"""What the documents say is what the code does, in both directions where it can be told."""

import ast
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from batching import keys
from cli import VERBS
from runtime.settings import Settings

ROOT = Path(__file__).parent.parent
NOT_OURS = {"bench", "tests"}
#: The packages of production.
PACKAGES = sorted(
    path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in NOT_OURS
)
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
#: Methods of a logger → where among their arguments the event stands.
LEVELS = {"debug": 0, "info": 0, "warning": 0, "error": 0, "exception": 0, "critical": 0, "log": 1}
EVENT = re.compile(r"[a-z]+\.[a-z]+(_[a-z]+)*")
#: What belongs to one machine or one network; /home/me is nobody. The brackets keep the pattern
#: from finding itself.
PRIVATE = re.compile(
    r"/(wor[k]|roo[t]|hom[e](?!/me\b)|User[s])/\w|py(p)i\.org|python(h)osted|--index-(u)rl"
)


def section(document: str, heading: str) -> str:
    text = (ROOT / "docs" / document).read_text()
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{document} has no section {heading!r}"
    return found.group(1)


def logged() -> Iterator[tuple[str, ast.expr]]:
    """Yield where each log call stands, and its event."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=args):
                    if level in LEVELS:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", args[LEVELS[level]]


def key_forms() -> Iterator[str]:
    """Yield every key as the documents write it, up to the first part that varies."""
    for name, value in vars(keys).items():
        if name.isupper() and str(value).startswith("aa:"):
            yield f"`{value}`"
    shard = keys.Shard("")
    for name, member in inspect.getmembers(keys.Shard):
        if isinstance(member, property):
            yield f"`{getattr(shard, name)}`"
        elif inspect.isfunction(member) and not name.startswith("_"):
            arguments = len(inspect.signature(member).parameters) - 1
            yield "`" + member(shard, *["<"] * arguments).partition("<")[0]


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_setting_is_documented(name: str) -> None:
    assert f"`{name.upper()}`" in section("reference.md", "Settings")


def test_every_address_is_documented() -> None:
    addresses = section("reference.md", "HTTP addresses")
    routes = [
        route
        for path in (ROOT / "web").glob("*.py")
        for route in re.findall(r'add_route\("([^"]+)"', path.read_text())
    ]

    assert len(routes) > 10
    assert [route for route in routes if route.partition("{")[0] not in addresses] == []


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_verb_is_documented(verb: str) -> None:
    assert f"| `{verb}" in section("reference.md", "Commands")


def test_every_log_event_is_a_constant_noun_and_verb() -> None:
    """A name put together at run time can be neither searched for nor counted."""
    broken = [
        where
        for where, event in logged()
        if not (isinstance(event, ast.Constant) and EVENT.fullmatch(str(event.value)))
    ]

    assert broken == []


def test_documented_log_events_are_those_of_the_code() -> None:
    documented = set(
        re.findall(r"^\| `([a-z]+\.[a-z_]+)`", section("reference.md", "Log events"), re.MULTILINE)
    )

    assert documented == {ast.literal_eval(event) for _, event in logged()}


@pytest.mark.parametrize("key", sorted(key_forms()))
def test_key_is_documented(key: str) -> None:
    assert key in section("architecture.md", "Keys")


def test_documented_make_targets_exist() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")]
    named = {
        target
        for document in documents
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text(), re.MULTILINE)
    }
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test"} <= named <= targets


def test_links_between_documents_lead_somewhere() -> None:
    documents = [path for path in tracked_files() if path.suffix == ".md"]
    broken = [
        f"{document.relative_to(ROOT)}: {link}"
        for document in documents
        for link in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", document.read_text())
        if not (document.parent / link).exists()
    ]

    assert broken == []


def test_tests_that_a_document_names_exist() -> None:
    """A promise whose test is gone is only a promise."""
    named = {
        path
        for document in (ROOT / "docs").glob("*.md")
        for path in re.findall(r"`(tests/[\w/]+\.py)`", document.read_text())
    }

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_tracked_files_name_no_machine() -> None:
    """A path or a host of one machine works there, and misleads everywhere else."""
    named = []
    for path in tracked_files():
        text = path.read_bytes() if path.exists() else b""
        if b"\0" not in text and (found := PRIVATE.search(text.decode())):
            named.append(f"{path.relative_to(ROOT)}: {found.group()}")

    assert named == []
