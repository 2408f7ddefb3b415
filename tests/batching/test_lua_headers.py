"""Each script's header is its contract: what it is given, what it gives back, what it costs."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from batching.model import Limits

LUA = Path(__file__).parents[2] / "batching" / "lua"
SCRIPTS = sorted(LUA.glob("*.lua"))
PRELUDE = LUA / "_prelude.lua"
#: The first argument is the time, which the prelude takes in every script.
FIRST = {"KEYS": 1, "ARGV": 2}
each_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
TYPES = {"hash", "list", "set", "stream", "string", "zset"}


def header_and_body(path: Path) -> tuple[list[str], str]:
    lines = path.read_text().splitlines()
    end = next(n for n, line in enumerate(lines) if not line.startswith("--"))
    return lines[:end], "\n".join(lines[end:])


def documented(header: list[str], table: str) -> list[int]:
    numbers = (re.match(rf"-- {table}\[(\d+)\]  \S", line) for line in header)
    return [int(number.group(1)) for number in numbers if number]


def used(body: str, table: str) -> set[int]:
    code = re.sub(r"--.*", "", body)
    return {int(number) for number in re.findall(rf"{table}\[(\d+)\]", code)}


@each_script
def test_first_line_names_the_file_and_its_duty(script: Path) -> None:
    header, _ = header_and_body(script)

    assert re.fullmatch(rf"-- {script.stem}: [a-z].{{15,}}", header[0])


def test_prelude_has_the_defaults_of_the_limits() -> None:
    """A limit that is added in one place alone has no default where another release lacks it."""
    (table,) = re.findall(r"DEFAULTS = \{(.*?)\}", PRELUDE.read_text(), re.DOTALL)

    found = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", table)}

    assert found == asdict(Limits())


def test_prelude_has_no_function_that_no_script_uses() -> None:
    names = re.findall(r"^local function (\w+)", PRELUDE.read_text(), re.MULTILINE)
    text = "\n".join(script.read_text() for script in SCRIPTS)

    assert [name for name in names if len(re.findall(rf"\b{name}\(", text)) < 2] == []


@each_script
@pytest.mark.parametrize("table", ["KEYS", "ARGV"])
def test_header_documents_what_the_script_uses_without_gaps(script: Path, table: str) -> None:
    header, body = header_and_body(script)
    first = 1 if script == PRELUDE else FIRST[table]

    numbers = documented(header, table)

    assert numbers == list(range(first, len(numbers) + first))
    assert set(numbers) == used(body, table)


@each_script
def test_header_gives_each_key_its_type(script: Path) -> None:
    header, _ = header_and_body(script)

    assert {line.split()[2] for line in header if line.startswith("-- KEYS[")} <= TYPES


@each_script
def test_header_tells_result_and_cost(script: Path) -> None:
    header, _ = header_and_body(script)

    parts = "-- Returns     ", "-- Complexity  O("
    assert [sum(line.startswith(part) for line in header) for part in parts] == [1, 1]


@each_script
def test_script_asks_only_the_server_for_the_time(script: Path) -> None:
    """One clock decides when a batch is due: a client's may be wrong, and two differ."""
    _, body = header_and_body(script)

    assert ("TIME" in body or "local now_ms" in body) == (script == PRELUDE)


@each_script
def test_script_subtracts_instead_of_negating(script: Path) -> None:
    """Lua writes -x of 0 as "-0", which Redis 7.0 does not take for an integer; Valkey does."""
    _, body = header_and_body(script)

    assert re.findall(r"HINCRBY.*[,(] ?-\w+", body) == []
