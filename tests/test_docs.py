"""The tables of the documents say what the code does: each is compared both ways."""

import argparse
import ast
import inspect
import re
import runpy
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_args

import falcon.testing
import pytest
from falcon.inspect import inspect_app

import batching
from batching import keys
from batching.errors import (
    AmbiguousError,
    ChannelStoppedError,
    PermanentError,
    TransientError,
)
from batching.model import Dependency, Reason
from channels import CHANNELS
from channels.explained import Explained
from channels.whatsapp_cloud.codes import MEANINGS
from channels.whatsapp_cloud.codes import Meaning as CloudMeaning
from cli import VERBS
from config import Table, Whole
from llm import MODELS
from runtime.accounts import AccountEntry, AccountHandover, Exceptions
from runtime.build import Runtime, build
from runtime.health import ALERT_RULES
from runtime.libraries import SAYINGS
from runtime.meanings import Meaning, codes, events, kinds
from runtime.settings import DEVELOPMENT_PRIVACY_KEY, AccountBudget, AccountLimits, Settings
from tests.repository import CODE, PACKAGES, ROOT, SOURCES, column, names, relative, rows, tree
from web import create_app

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
#: Reasons for which a batch is not answered and nobody is alerted.
DELIBERATE = {Reason.ERASED, Reason.DISCARDED, Reason.TAKEOVER}


@cache
def calls() -> list[tuple[Path, ast.Call]]:
    """Return every call in production."""
    return [
        (path, node)
        for path in SOURCES
        for node in ast.walk(tree(path))
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
                where = f"{relative(path)}:{call.lineno}"
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
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    documented = column("reference.md", "Settings", 1)
    ranges = column("reference.md", "Settings", 2)

    assert {name: shown.strip("`") for name, shown in documented.items()} == {
        name: default(field.default) for name, field in fields.items()
    }
    assert {
        name: ranges[name] for name in fields if not ranges[name].startswith(bounds(fields[name]))
    } == {}


def keys_of_accounts() -> Iterator[tuple[str, str]]:
    """Yield every key, and where it stands: a channel's name, or a table."""
    tables: list[tuple[str, type[Table]]] = [("top", Exceptions), ("[[account]]", AccountEntry)]
    tables += [("[account.batch]", AccountLimits), ("[account.budget]", AccountBudget)]
    tables += [("[account.handover]", AccountHandover)]
    tables += [(provider.name, provider.config) for provider in CHANNELS.values()]
    tables += [("[account.model]", maker.config) for maker in MODELS.values()]
    yield from ((name, where) for where, table in tables for name in table.model_fields)
    # It chooses the table, and is in none.
    yield "provider", "[account.model]"
    # Tables of their own.
    yield "fallback", "[account.model]"


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


def test_level_of_a_log_event_is_that_of_the_code() -> None:
    """Where an event has two levels, the row names both."""
    documented = {
        CODE.findall(row[0])[0]: "".join(row) for row in rows("reference.md", "Log events")
    }
    wrong = [
        f"{where}: {level}" for where, event, level, _ in logged() if level not in documented[event]
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
    documented = column("reference.md", "Log events", 2)
    missing = [
        f"{where}: {field}"
        for where, event, _, call in logged()
        for keyword in call.keywords
        if keyword.arg == "extra"
        for field in fields(keyword.value)
        if f"`{field}`" not in documented[event]
    ]

    assert missing == []


def of_the_servers() -> set[str]:
    """Return the events for sentences of gunicorn and Dramatiq, and what is logged beside them."""
    configuration = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    sources = [ROOT / "gunicorn.conf.py", ROOT / "scheduler" / "timer.py"]
    literal = re.compile(r'"((?:request|connection|process)\.[a-z_]+)"')
    return (
        {event for event, _ in configuration["SAYINGS"].values()}
        | {saying.event for saying in SAYINGS.values()}
        | {event for path in sources for event in literal.findall(path.read_text())}
    ) - {"request.unanswered"}


def alert_kinds() -> Iterator[str]:
    """Yield every kind of alert: of dead letters, of scripts, of the monitor and its kin."""
    yield from set(Reason) - DELIBERATE
    yield from (rule.kind for rule in ALERT_RULES)
    yield from {of.alert for of in Dependency}
    for _, call in calls():
        match call:
            case ast.Call(
                func=ast.Attribute(attr="alert_once"), args=[ast.Constant(value=kind), *_]
            ):
                yield str(kind)
    for path in (ROOT / "batching" / "lua").glob("*.lua"):
        text = path.read_text()
        yield from re.findall(r'alert\((?:KEYS\[\d+\]|alerts), "([a-z_]+)"', text)
        yield from re.findall(r'"(budget_[a-z_]+|model_off)"', text)


def test_runbook_has_every_alert_and_every_error() -> None:
    """A person who is alerted finds there what to do."""
    runbook = set(CODE.findall((ROOT / "docs" / "runbook.md").read_text()))
    errors = {event for _, event, level, _ in logged() if level == "ERROR"}

    assert sorted({*alert_kinds(), *errors} - runbook) == []


def checks() -> Iterator[str]:
    """Yield what each check result is about; one is named by the caller."""
    yield "REDIS_URL"
    for path, call in calls():
        method = ast.unparse(call.func).removeprefix("health.")
        if path.name in {"health.py", "doctor.py"} and method in {"ok", "warning", "mistake"}:
            yield from filter(None, [constant(call.args[0])])


def as_shown(codes: Sequence[str]) -> str:
    """Return codes as the table shows them: three or more in a row by the first and the last."""
    numbers = [int(code.split("_")[1]) for code in codes]
    runs: list[list[str]] = []
    for n, code in enumerate(codes):
        if n and numbers[n] == numbers[n - 1] + 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    few = 2
    return ", ".join(
        f"`{run[0]}` … `{run[-1]}`" if len(run) > few else ", ".join(f"`{it}`" for it in run)
        for run in runs
    )


def test_error_codes_are_those_of_the_code() -> None:
    becomes = {
        TransientError: "tried again",
        AmbiguousError: "may have arrived",
        ChannelStoppedError: "the account stops",
        PermanentError: "ends",
    }

    assert rows("reference.md", "Error codes of the Cloud API") == [
        [as_shown(it.names), becomes[it.error], it.says, it.advice] for it in MEANINGS
    ]


def test_every_kind_and_reason_has_words() -> None:
    assert {*alert_kinds(), *Reason} == set(kinds())


def test_every_section_that_is_linked_to_exists() -> None:
    told = [*kinds().values(), *codes().values(), *events().values()]
    sections = {it.runbook for it in told} | {
        section for it in kinds().values() for section in it.runbook_of.values()
    }
    text = (ROOT / "docs" / "runbook.md").read_text()

    assert sections <= {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


def test_tables_of_the_reference_are_those_of_the_code() -> None:
    shown = [row[:5] for row in rows("reference.md", "Alert kinds")]

    assert shown == [
        [f"`{name}`", it.severity, f"{it.title}: {it.says}", it.to_do, see(it.runbook)]
        for name, it in kinds().items()
        if name not in DELIBERATE
    ]
    by_meaning = dict[Meaning, list[str]]()
    for name, it in codes().items():
        by_meaning.setdefault(it, []).append(f"`{name}`")
    assert rows("reference.md", "Codes") == [
        [", ".join(names), it.says, it.to_do, see(it.runbook)] for it, names in by_meaning.items()
    ]


def see(section: str) -> str:
    return f"[runbook](runbook.md#{section})"


def test_every_error_of_the_log_has_words() -> None:
    """Its own, or those of the alert that tells the same, which is then told alone."""
    told = {event for it in kinds().values() for event in it.events}
    found = {event for _, event, level, _ in logged() if level in {"ERROR", "CRITICAL"}}

    assert sorted(found - told - set(events())) == []
    assert sorted(told & set(events())) == []


def test_codes_of_providers_are_those_of_the_code() -> None:
    by_meaning = dict[Explained, list[str]]()
    for provider in CHANNELS.values():
        for code, it in provider.codes.items():
            if not isinstance(it, CloudMeaning):
                by_meaning.setdefault(it, []).append(f"`{code}`")

    assert rows("reference.md", "Codes of providers") == [
        [", ".join(names), it.says, it.advice] for it, names in by_meaning.items()
    ]


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

    assert column("reference.md", "HTTP addresses", 1) == routes


def test_metrics_are_those_of_a_scrape(runtime: Runtime) -> None:
    scraped = (
        falcon.testing.TestClient(create_app(runtime)).simulate_get("/metrics?former=yes").text
    )

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
        name: set(CODE.findall(taken))
        for name, taken in column("reference.md", "Commands", 1).items()
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


@pytest.mark.parametrize(
    ("document", "heading", "found"),
    [
        ("reference.md", "Log events", lambda: (event for _, event, _, _ in logged())),
        ("reference.md", "Events of the servers", of_the_servers),
        ("reference.md", "Alert kinds", alert_kinds),
        ("reference.md", "Checks", checks),
        ("architecture.md", "Keys", key_forms),
        ("architecture.md", "Packages", lambda: PACKAGES),
    ],
)
def test_names_in_a_table_are_those_of_the_code(
    document: str, heading: str, found: Callable[[], Iterable[str]]
) -> None:
    """Of a key the part that never varies is compared."""
    documented = names(document, heading)

    assert len(documented) == len(set(documented))
    assert {re.split(r"[<*]", name)[0] for name in documented} == set(found())


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
