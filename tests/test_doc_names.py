"""What the documents name is there: files, headings, tests, commands, events, metrics."""

import argparse
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from cli import VERBS
from tests.test_docs import EVENT, PACKAGES, names

ROOT = Path(__file__).parent.parent
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
CODE = re.compile(r"`([^`\n]+)`")
#: What begins so is typed by a person, and not printed.
TYPED = (
    "CONFIG", "ansible-playbook", "autoDownload:", "curl", "dead list", "dead replay",
    "journalctl", "maxmemory-policy", "python", "redis-cli", "sudo", "systemctl",
)  # fmt: skip


@cache
def tracked() -> list[Path]:
    """Return every file of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).exists()]


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md" and "prompts" not in path.parts]


def coded() -> Iterator[tuple[str, str]]:
    """Yield every piece of code in a document, and where it stands."""
    for document in documents():
        where = str(document.relative_to(ROOT))
        yield from ((where, text) for text in CODE.findall(document.read_text()))


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
                broken.append(f"{document.relative_to(ROOT)}: {path}#{anchor}")

    assert broken == []


def test_documents_that_a_file_names_exist() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked()
        if path.suffix != ".png"
        for name in re.findall(r"\bdocs/\w+\.\w+", path.read_text())
        if not (ROOT / name).exists()
    ]

    assert broken == []


def test_files_that_a_document_names_exist() -> None:
    """A name with a folder is one of the repository's if the folder is."""
    broken = [
        f"{where}: {name}"
        for where, name in coded()
        if re.fullmatch(r"[\w.-]+(/[\w.*-]+)*/?", name)
        and "/" in name
        and (ROOT / name.partition("/")[0]).is_dir()
        and not any(ROOT.glob(name.rstrip("/")))
        and name.rstrip("/") not in UNTRACKED
    ]

    assert broken == []


def test_code_that_a_document_names_exists() -> None:
    """``package.module``, ``package.module.name``, with or without a call's brackets."""
    dotted = re.compile(rf"((?:{'|'.join(PACKAGES)})(?:\.\w+)+)(?:\(.*\))?")
    events = {*names("reference.md", "Log events")}
    broken = [
        f"{where}: {name}"
        for where, text in coded()
        if (found := dotted.fullmatch(text))
        and not (name := found.group(1)).endswith(FILES)
        and name not in events
        and not is_importable(name)
    ]

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


def test_tests_that_a_document_names_exist() -> None:
    """A promise whose test is gone is only a promise. CONTRIBUTING has invented examples."""
    tests = "\n".join(
        path.read_text() for path in tracked() if "tests" in path.parts and path.suffix == ".py"
    )
    defined = set(re.findall(r"def (test_\w+)", tests))
    named = {(where, text.partition("[")[0]) for where, text in coded()}
    broken = [
        f"{where}: {name}"
        for where, name in sorted(named)
        if re.fullmatch(r"test_\w+", name) and name not in defined and where != "CONTRIBUTING.md"
    ]

    assert broken == []


def test_log_events_that_a_document_names_exist() -> None:
    """The reference has all of them; CONTRIBUTING shows how one is written."""
    known = {*names("reference.md", "Log events"), "noun.verbed", "request.unreadable"}
    nouns = {name.partition(".")[0] for name in known}
    broken = [
        f"{where}: {text}"
        for where, text in coded()
        if EVENT.fullmatch(text)
        and text.partition(".")[0] in nouns
        and text not in known
        and not text.endswith(FILES)
        and not is_importable(text)
    ]

    assert broken == []


def test_metrics_that_a_document_names_exist() -> None:
    known = set(names("reference.md", "Metrics"))

    assert [it for it in coded() if it[1].startswith("ai_admin_") and it[1] not in known] == []


def test_make_targets_that_a_document_names_exist() -> None:
    named = {
        target
        for document in documents()
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", document.read_text(), re.MULTILINE)
    }
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test"} <= named <= targets


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command of an operator in a document: in a block, or in a sentence.

    ``dead`` alone, and ``dead list|show``, are names of a family.
    """
    line = re.compile(
        r"(?:^ {4,}.*?|`)(?:python manage\.py|sudo ai-admin) ([a-z][^`\n]*)", re.MULTILINE
    )
    for document in documents():
        where = str(document.relative_to(ROOT))
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


def test_playbooks_that_a_document_names_exist() -> None:
    named = {
        name
        for document in documents()
        for name in re.findall(r"ansible-playbook (?:--\S+ )*(\w+\.yml)", document.read_text())
    }

    assert named
    assert [name for name in sorted(named) if not (ROOT / "ansible" / name).exists()] == []


def test_tracked_files_name_no_machine() -> None:
    """A path or a host of one machine works there, and misleads everywhere else."""
    named = []
    for path in tracked():
        text = path.read_bytes()
        if b"\0" not in text and (found := PRIVATE.search(text.decode())):
            named.append(f"{path.relative_to(ROOT)}: {found.group()}")

    assert named == []
