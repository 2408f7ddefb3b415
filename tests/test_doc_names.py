"""What the documents name is there: files, headings, tests, commands, events, metrics."""

import argparse
import importlib
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from cli import VERBS
from tests.repository import CODE, PACKAGES, ROOT, coded, documents, names, relative, tracked
from tests.test_docs import EVENT

#: What belongs to one machine or one network; /home/me is nobody. The brackets keep the pattern
#: from finding itself.
PRIVATE = re.compile(
    r"/(wor[k]|roo[t]|hom[e](?!/me\b)|User[s])/\w|py(p)i\.org|python(h)osted|--index-(u)rl"
)
#: Endings of files; what else has a dot in it may be a log event.
FILES = (".cfg", ".csr", ".js", ".key", ".lua", ".md", ".pem", ".py", ".toml", ".yml")
#: Directories that are not in the repository.
UNTRACKED = {"inventory", "ansible/inventory", "../.venv/bin"}
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
DOTTED = re.compile(rf"((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?:\(.*\))?")
#: What begins so is typed by a person, and not printed.
TYPED = (
    "CONFIG", "ansible-playbook", "autoDownload:", "curl", "dead list", "dead replay",
    "journalctl", "maxmemory-policy", "python", "redis-cli", "sudo", "systemctl",
)  # fmt: skip


def slugs(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for document in documents():
        for path, anchor in LINK.findall(document.read_text()):
            target = (document.parent / path).resolve() if path else document
            if not target.exists() or (anchor and anchor not in slugs(target)):
                broken.append(f"{relative(document)}: {path}#{anchor}")

    assert broken == []


def test_documents_that_a_file_names_exist() -> None:
    broken = [
        f"{relative(path)}: {name}"
        for path in tracked()
        if path.suffix != ".png"
        for name in re.findall(r"\bdocs/\w+\.\w+", path.read_text())
        if not (ROOT / name).exists()
    ]

    assert broken == []


def missing_file(text: str) -> bool:
    """Say whether a file is not there: a name with a folder is one of ours if the folder is."""
    if "/" not in text or not re.fullmatch(r"[\w.-]+(/[\w.*-]+)*/?", text):
        return False
    name = text.rstrip("/")
    is_ours = (ROOT / text.partition("/")[0]).is_dir() and name not in UNTRACKED
    return is_ours and not any(ROOT.glob(name))


@cache
def events() -> frozenset[str]:
    """Return every log event, ours and those of the servers."""
    ours, servers = (
        names("reference.md", "Log events"),
        names("reference.md", "Events of the servers"),
    )
    return frozenset({*ours, *servers})


def missing_code(text: str) -> bool:
    """Say so of ``package.module.name``, with or without a call's brackets."""
    name = found[1] if (found := DOTTED.fullmatch(text)) else ""
    if not name or name.endswith(FILES) or name in events():
        return False
    return not is_importable(name)


def missing_test(text: str) -> bool:
    """Say so of a test: a promise whose test is gone is only a promise."""
    found = re.fullmatch(r"(test_\w+)(\[.*)?", text)
    return found is not None and found[1] not in defined_tests()


@cache
def defined_tests() -> set[str]:
    """Return every test, and the examples that CONTRIBUTING invents."""
    tests = [path for path in tracked() if "tests" in path.parts and path.suffix == ".py"]
    examples = (ROOT / "CONTRIBUTING.md").read_text()
    found = {name for path in tests for name in re.findall(r"def (test_\w+)", path.read_text())}
    return found | set(re.findall(r"`(test_\w+)`", examples))


def missing_event(text: str) -> bool:
    """Say so of a log event; CONTRIBUTING shows how one is written."""
    known = {*events(), "noun.verbed"}
    nouns = {name.partition(".")[0] for name in known}
    if not EVENT.fullmatch(text) or text.partition(".")[0] not in nouns:
        return False
    return text not in known and not text.endswith(FILES) and not is_importable(text)


def missing_metric(text: str) -> bool:
    return text.startswith("ai_admin_") and text not in names("reference.md", "Metrics")


@pytest.mark.parametrize(
    "is_missing", [missing_file, missing_code, missing_test, missing_event, missing_metric]
)
def test_what_a_document_names_exists(is_missing: Callable[[str], bool]) -> None:
    broken = [f"{where}: {text}" for where, text in coded() if is_missing(text)]

    assert broken == []


def is_importable(name: str) -> bool:
    """Return whether a dotted name leads to a module, or to something in one."""
    module, _, rest = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return bool(module) and is_there(module, rest)
    return True


def is_there(module: str, attribute: str) -> bool:
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:
        return False


def named(pattern: str) -> set[str]:
    """Return what a pattern finds in all documents."""
    texts = [document.read_text() for document in documents()]
    return {name for text in texts for name in re.findall(pattern, text, re.MULTILINE)}


def test_make_targets_that_a_document_names_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test"} <= named(r"(?:`|^)make ([a-z-]+)") <= targets


def test_playbooks_that_a_document_names_exist() -> None:
    playbooks = {path.name for path in (ROOT / "ansible").glob("*.yml")}

    assert (
        {"site.yml", "deploy.yml"} <= named(r"ansible-playbook (?:--\S+ )*(\w+\.yml)") <= playbooks
    )


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command of an operator in a document: in a block, or in a sentence.

    ``dead`` alone, and ``dead list|show``, are names of a family.
    """
    line = re.compile(
        r"(?:^ {4,}.*?|`)(?:python manage\.py|sudo ai-admin) ([a-z][^`\n]*)", re.MULTILINE
    )
    for document in documents():
        where = relative(document)
        found = line.findall(document.read_text())
        yield from (
            (where, command) for command in found if "|" not in command and command != "dead"
        )


@pytest.mark.parametrize(("where", "command"), sorted(set(commands())))
def test_command_that_a_document_shows_is_taken(where: str, command: str) -> None:
    parser = argparse.ArgumentParser(prog=where, exit_on_error=False)
    choices = parser.add_subparsers(required=True)
    for verb in VERBS:
        taken = choices.add_parser(verb.name)
        taken.add_argument("--json", action="store_true")
        verb.arguments(taken)

    _, unknown = parser.parse_known_args(shlex.split(command))

    assert unknown == []


def quoted() -> Iterator[str]:
    """Yield what the runbook says that a command prints; "…" stands for what varies."""
    runbook = re.sub(
        r"^ {4,}.*$", "", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE
    )
    for text in CODE.findall(runbook):
        if " " in text and not text.startswith(TYPED) and "=" not in text and "KIND" not in text:
            yield text


def test_what_a_document_quotes_is_printed() -> None:
    """Each piece of it stands in the code; a check's result begins with the check's name."""
    sources = "\n".join(
        path.read_text()
        for package in ("cli", "runtime", "web")
        for path in (ROOT / package).glob("*.py")
    )
    printed = re.sub(r"[\"']\n\s+f?[\"']", "", sources)
    checks = names("reference.md", "Checks")
    lines = [
        text.removeprefix(f"{check}: ")
        for text in quoted()
        for check in [next((it for it in checks if text.startswith(f"{it}: ")), "")]
    ]

    assert lines
    assert [it for it in lines for piece in it.split("…") if piece.strip() not in printed] == []


def test_tracked_files_name_no_machine() -> None:
    """A path or a host of one machine works there, and misleads everywhere else."""
    named = []
    for path in tracked():
        text = path.read_bytes()
        if b"\0" not in text and (found := PRIVATE.search(text.decode())):
            named.append(f"{relative(path)}: {found.group()}")

    assert named == []
