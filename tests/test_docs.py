"""The tables of the documents say what the code does: each is compared both ways."""

import argparse
import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import falcon.testing
import pytest
from falcon.inspect import inspect_app

import batching
from batching import keys
from batching.model import Reason
from batching.store import CIRCUIT_ALERT
from channels import CHANNELS
from cli import VERBS
from config import Table, Whole
from llm import MODELS
from runtime.accounts import AccountEntry
from runtime.build import Runtime, build
from runtime.health import ALERT_RULES
from runtime.settings import DEVELOPMENT_PRIVACY_KEY, AccountBudget, AccountLimits, Settings
from web import create_app

ROOT = Path(__file__).parent.parent
NOT_OURS = {"bench", "tests"}
#: The packages of production.
PACKAGES = sorted(
    path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in NOT_OURS
)
SOURCES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
#: Methods of a logger → where among their arguments the event stands, and its level.
LEVELS = {
    "debug": (0, "DEBUG"),
    "info": (0, "INFO"),
    "warning": (0, "WARNING"),
    "error": (0, "ERROR"),
    "exception": (0, "ERROR"),
    "critical": (0, "CRITICAL"),
    "log": (1, ""),
}
EVENT = re.compile(r"[a-z]+\.[a-z]+(_[a-z]+)*")
CODE = re.compile(r"`([^`]+)`")
#: Reasons for which a batch is not answered and nobody is alerted.
DELIBERATE = {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER}


def section(document: str, heading: str) -> str:
    """Return the text below a heading of the second level, without its subsections."""
    text = (ROOT / "docs" / document).read_text()
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/{document} has no section {heading!r}"
    return found.group(1)


def rows(document: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table of a section, without its head."""
    table = re.search(r"(?:^\|.*\n)+", section(document, heading), re.MULTILINE)
    assert table, f"docs/{document}, {heading}: no table"
    lines = table.group().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(document: str, heading: str) -> list[str]:
    """Return every name in the first column of a table, each as often as it stands there."""
    return [name for row in rows(document, heading) for name in CODE.findall(row[0])]


@cache
def calls() -> list[tuple[Path, ast.Call]]:
    """Return every call in production."""
    return [
        (path, node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]


def constant(node: ast.expr) -> str:
    """Return the text that stands there, "" if none does."""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def logged() -> Iterator[tuple[str, str, str, ast.Call]]:
    """Yield where each log call stands, its event, its level ("" if that varies), and the call.

    The event is "" where it is no constant.
    """
    for path, call in calls():
        match call.func:
            case ast.Attribute(value=ast.Name(id="log"), attr=method) if method in LEVELS:
                place, level = LEVELS[method]
                where = f"{path.relative_to(ROOT)}:{call.lineno}"
                yield where, constant(call.args[place]), level, call


# -- Settings and accounts


def bounds(field: Any) -> str:
    """Return what a document says of a setting's bounds, "" where they are no numbers or words."""
    for bound in field.metadata:
        if isinstance(bound, Whole):
            return str(bound)
    return ", ".join(get_args(field.annotation))


def default(value: object) -> str:
    shown = {"": "none", DEVELOPMENT_PRIVACY_KEY: "a public one"}
    return shown.get(str(value), str(value))


def test_settings_are_those_of_the_code_with_defaults_and_bounds() -> None:
    documented = {
        CODE.findall(row[0])[0]: row[1].strip("`") for row in rows("reference.md", "Settings")
    }

    assert documented == {
        name.upper(): default(field.default) for name, field in Settings.model_fields.items()
    }


@pytest.mark.parametrize("name", [name for name, f in Settings.model_fields.items() if bounds(f)])
def test_bounds_of_a_setting_are_those_of_the_code(name: str) -> None:
    documented = {CODE.findall(row[0])[0]: row[2] for row in rows("reference.md", "Settings")}

    assert documented[name.upper()].startswith(bounds(Settings.model_fields[name]))


def keys_of_accounts() -> Iterator[tuple[str, str]]:
    """Yield every key, and where it stands: a channel's name, or a table."""
    tables: list[tuple[str, type[Table]]] = [("[[account]]", AccountEntry)]
    tables += [("[account.batch]", AccountLimits), ("[account.budget]", AccountBudget)]
    tables += [(provider.name, provider.config) for provider in CHANNELS.values()]
    tables += [("[account.model]", maker.config) for maker in MODELS.values()]
    yield from ((name, where) for where, table in tables for name in table.model_fields)
    # It chooses the table, and is in none.
    yield "provider", "[account.model]"


def test_keys_of_accounts_are_those_of_the_code() -> None:
    documented = {
        (name, where)
        for row in rows("reference.md", "Accounts")
        for name in CODE.findall(row[0])
        for where in CODE.findall(row[1])
    }

    assert documented == set(keys_of_accounts())


# -- What a process says


def test_every_log_event_is_a_constant_noun_and_verb() -> None:
    """A name put together at run time can be neither searched for nor counted."""
    assert [where for where, event, _, _ in logged() if not EVENT.fullmatch(event)] == []


def test_log_events_are_those_of_the_code() -> None:
    documented = names("reference.md", "Log events")

    assert sorted(documented) == sorted({event for _, event, _, _ in logged()})


def test_level_of_a_log_event_is_that_of_the_code() -> None:
    """Where an event has two levels, the row names both."""
    documented = {CODE.findall(row[0])[0]: row for row in rows("reference.md", "Log events")}
    wrong = [
        f"{where}: {level}"
        for where, event, level, _ in logged()
        if level not in "".join(documented[event])
    ]

    assert wrong == []


def fields(value: ast.expr) -> list[str]:
    """Return the names in a dictionary that stands in a call, or in several joined by "|"."""
    match value:
        case ast.Dict(keys=written):
            return [str(key.value) for key in written if isinstance(key, ast.Constant)]
        case ast.BinOp(left=left, right=right):
            return [*fields(left), *fields(right)]
    return []


def test_fields_of_a_log_event_are_documented() -> None:
    """Only fields that stand in the call can be compared; "…" stands for those of a batch."""
    documented = {CODE.findall(row[0])[0]: row[2] for row in rows("reference.md", "Log events")}
    missing = [
        f"{where}: {field}"
        for where, event, _, call in logged()
        for keyword in call.keywords
        if keyword.arg == "extra"
        for field in fields(keyword.value)
        if f"`{field}`" not in documented[event]
    ]

    assert missing == []


def alert_kinds() -> Iterator[str]:
    """Yield every kind of alert: of dead letters, of scripts, of the monitor and its kin."""
    yield from set(Reason) - DELIBERATE
    yield from (rule.kind for rule in ALERT_RULES)
    yield CIRCUIT_ALERT
    for _, call in calls():
        match call:
            case ast.Call(
                func=ast.Attribute(attr="alert_once"), args=[ast.Constant(value=kind), *_]
            ):
                yield str(kind)
    for path in (ROOT / "batching" / "lua").glob("*.lua"):
        text = path.read_text()
        yield from re.findall(r'alert\(KEYS\[\d+\], "([a-z_]+)"', text)
        yield from re.findall(r'"(budget_[a-z]+|model_off)"', text)


def test_alert_kinds_are_those_of_the_code() -> None:
    documented = names("reference.md", "Alert kinds")

    assert sorted(documented) == sorted(set(alert_kinds()))


def test_runbook_has_every_alert_and_every_error() -> None:
    """A person who is alerted finds there what to do."""
    runbook = set(CODE.findall((ROOT / "docs" / "runbook.md").read_text()))
    errors = {event for _, event, level, _ in logged() if level == "ERROR"}

    assert sorted({*alert_kinds(), *errors} - runbook) == []


def test_checks_are_those_of_the_code() -> None:
    """Every check result names what it is about; one is named by the caller."""
    about = {
        constant(call.args[0])
        for path, call in calls()
        if path.name in {"health.py", "doctor.py"}
        and ast.unparse(call.func).removeprefix("health.") in {"ok", "warning", "mistake"}
    }

    assert sorted(names("reference.md", "Checks")) == sorted({*about, "REDIS_URL"} - {""})


# -- What can be asked of it


@pytest.fixture
def runtime(demo_environ: dict[str, str]) -> Iterator[Runtime]:
    """Return a web process with the demo's accounts."""
    runtime = build("web", demo_environ)
    yield runtime
    runtime.store.client.connection_pool.disconnect()


def test_addresses_are_those_of_the_application(runtime: Runtime) -> None:
    routes = {
        route.path: ", ".join(sorted(it.method for it in route.methods if not it.internal))
        for route in inspect_app(create_app(runtime)).routes
    }
    documented = {CODE.findall(row[0])[0]: row[1] for row in rows("reference.md", "HTTP addresses")}

    assert documented == routes


def test_metrics_are_those_of_a_scrape(runtime: Runtime) -> None:
    scraped = falcon.testing.TestClient(create_app(runtime)).simulate_get("/metrics").text

    assert sorted(names("reference.md", "Metrics")) == sorted(
        re.findall(r"^# TYPE (\S+)", scraped, re.MULTILINE)
    )


def verbs() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command as it is typed, with what reads its arguments."""
    for verb in VERBS:
        parser = argparse.ArgumentParser()
        verb.arguments(parser)
        actions = [it for it in parser._actions if isinstance(it, argparse._SubParsersAction)]
        if not actions:
            yield verb.name, parser
        for action in actions:
            yield from ((f"{verb.name} {name}", sub) for name, sub in action.choices.items())


def options(parser: argparse.ArgumentParser) -> set[str]:
    """Return what a command takes, as a person types it; all take --json and --help."""
    taken: set[str] = set()
    for action in parser._actions:
        if action.option_strings:
            taken.add(action.option_strings[-1])
        elif action.choices:
            taken.update(action.choices)
        else:
            taken.add(str(action.metavar or action.dest).upper())
    return taken - {"--json", "--help"}


def test_commands_and_their_options_are_those_of_the_parser() -> None:
    documented = {
        CODE.findall(row[0])[0]: set(CODE.findall(row[1]))
        for row in rows("reference.md", "Commands")
    }

    assert documented == {name: options(parser) for name, parser in verbs()}


def test_exit_statuses_are_those_of_the_code() -> None:
    """2 is argparse's."""
    constants = re.compile(r"^(?:EXIT_\w+(?:, )?)+ = ([\d, ]+)$", re.MULTILINE)
    given = {
        int(status)
        for path in SOURCES
        for found in constants.findall(path.read_text())
        for status in found.split(", ")
    }

    assert {int(row[0]) for row in rows("reference.md", "Exit statuses")} == given | {2}


# -- What it is made of


def key_forms() -> Iterator[str]:
    """Yield every key up to the first part that varies."""
    for name, value in vars(keys).items():
        if name.isupper() and str(value).startswith("aa:"):
            yield str(value)
    shard = keys.Shard("")
    yield from (key for name, key in vars(shard).items() if name != "prefix")
    for name, member in inspect.getmembers(keys.Shard):
        if inspect.isfunction(member) and not name.startswith("_"):
            arguments = len(inspect.signature(member).parameters) - 1
            yield str(member(shard, *["<"] * arguments)).partition("<")[0]


def test_keys_are_those_of_the_code() -> None:
    documented = {re.split(r"[<*]", name)[0] for name in names("architecture.md", "Keys")}

    assert sorted(documented) == sorted(set(key_forms()))


def test_packages_are_those_of_the_code() -> None:
    assert sorted(names("architecture.md", "Packages")) == PACKAGES


def test_layers_are_those_of_the_linter() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    contracts = {contract["id"]: contract for contract in tool["importlinter"]["contracts"]}
    layers = contracts["layers"]["layers"]

    assert f"\n{' → '.join(layers)}\n" in (ROOT / "CONTRIBUTING.md").read_text()


# -- Words


def test_glossary_has_the_words_of_the_code() -> None:
    documented = [row[0] for row in rows("glossary.md", "A message and its batch")]
    words = re.findall(r"^(\S.*)\n    \S", inspect.getdoc(batching) or "", re.MULTILINE)

    assert sorted(documented) == sorted(words)
