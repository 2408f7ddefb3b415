"""What every file of the house is held to, whoever writes it."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT, SOURCES, relative, tree

MODULE_LINES = range(40, 501)
#: Modules that are longer or shorter than that, each with its reason. A package's ``__init__`` may
#: be short: it says what the package is for.
ODD_SIZES = {
    "batching/flow.py": "the story, and what each failure becomes: one is read with the other",
    "batching/inspect.py": "every view of an operator beside how it is read",
    "batching/model.py": "every value of the flow beside how it is stored",
    "batching/store.py": "every script's method beside the others, as in asynq's rdb.go",
    "channels/inbound.py": "what every parser of a webhook shares",
    "channels/venom/inbound.py": "each event of a gateway beside what it says",
    "channels/whatsapp_cloud/inbound.py": "each item of Meta's webhooks beside what it says",
    "llm/markup.py": "every notation in one table, beside what is done with each kind",
    "web/webhooks.py": "a webhook from its first byte to its answer",
    "bench/noop.py": "the application that gunicorn runs for comparison",
    "runtime/accounts.py": "an account's keys, how each is read, and the account that they make",
    "runtime/health.py": "every check beside the others",
    "runtime/units.py": "what the command line and the checks share of printing",
    "wsgi.py": "an entry point",
}
FUNCTION_LINES_MAX = 40
SCRIPT_LINES_MAX = 60
#: What all scripts share is many small functions, and no script.
PRELUDE = ROOT / "batching" / "lua" / "_prelude.lua"
PRELUDE_LINES_MAX = 345
SCRIPTS = sorted({*(ROOT / "batching" / "lua").glob("*.lua")} - {PRELUDE})
OURS = sorted([*SOURCES, *(ROOT / "bench").rglob("*.py"), ROOT / "manage.py", ROOT / "wsgi.py"])

#: Imports each module named on stdin in a process of its own, forked after everybody else's
#: libraries were imported, and prints what the import did beyond defining things, a line each.
PROBE = """
import importlib, json, logging, os, signal, sys, threading
import dramatiq, falcon, httpx2, prometheus_client, pydantic_settings, redis, sentry_sdk

DEEDS = {"socket.connect", "socket.bind", "subprocess.Popen", "os.system", "os.fork"}

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
    if event in DEEDS or writes:
        raise RuntimeError(f"{event} while importing")

def deeds(module):
    sys.addaudithook(watch)
    handlers = logging.getLogger().handlers[:]
    signals = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        importlib.import_module(module)
    except BaseException as error:
        yield f"{type(error).__name__}: {error}"
    if threading.active_count() > 1:
        yield "a thread runs"
    if logging.getLogger().handlers != handlers:
        yield "logging is configured"
    if [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != signals:
        yield "a signal is handled"
    if dramatiq.broker.global_broker is not None:
        yield "a broker is set"
    if sentry_sdk.is_initialized():
        yield "Sentry is initialised"

sys.dont_write_bytecode = True
for module in json.load(sys.stdin):
    if os.fork() == 0:
        for deed in deeds(module):
            print(f"{module}: {deed}", flush=True)
        os._exit(0)
    if os.wait()[1] != 0:
        print(f"{module}: died while importing", flush=True)
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_importing_a_module_does_nothing() -> None:
    """Whatever acts at import acts in tests, tools and half-configured processes too.

    The environment is empty and no server runs. ``wsgi`` is the one exception: it is the program.
    """
    modules = [module_name(path) for path in OURS if path.name != "wsgi.py"]

    probe = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROBE],
        input=json.dumps(modules),
        env={"PATH": os.defpath},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )

    assert probe.stdout.splitlines() == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in OURS if not ast.get_docstring(tree(path))]

    assert silent == []


def test_module_is_long_or_short_for_a_reason() -> None:
    """A module holds one idea, whole: above 500 lines there may be two, below 40 half of one."""
    odd = {
        relative(path)
        for path in OURS
        if lines(path) not in MODULE_LINES
        and not (path.name == "__init__.py" and lines(path) < MODULE_LINES.start)
    }

    assert odd == set(ODD_SIZES)


def test_functions_are_short() -> None:
    long = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in OURS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]

    assert long == []


def test_scripts_are_short() -> None:
    assert [path.name for path in SCRIPTS if lines(path) > SCRIPT_LINES_MAX] == []
    assert lines(PRELUDE) <= PRELUDE_LINES_MAX


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_has_a_store_method_of_its_name(path: Path) -> None:
    """One verb each: the file, the method, the event and the test are found by one search."""
    store = "".join(source.read_text() for source in (ROOT / "batching").glob("*.py"))

    assert f"def {path.stem}(" in store
