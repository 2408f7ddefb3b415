"""Filters of plays/asked.yml: what an inventory or a command line says that nobody would hear.

Each returns sentences for people, none where all is well. None needs a host, and none shows a
value: any of them may be a secret.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches, unified_diff
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Variables = Mapping[str, Any]

ROLES = Path(__file__).parents[2] / "roles"
#: Groups that the playbooks play on → whether there must be one, and how many hosts it may have.
GROUPS = {
    "ledger": (1, 1),
    "web": (1, None),
    "workers": (1, None),
    "scheduler": (1, None),
    "broker": (0, 1),
    "proxy": (0, None),
    "monitoring": (0, None),
}
#: Those whose hosts can be drained.
APPLICATION = ("web", "workers", "scheduler")
#: By either of these the ledger is a Redis of somebody else, and on no host of ours.
ELSEWHERE = {"topology_ledger_address", "deployment_redis_url"}
#: Variables that belong to no role.
OF_PLAYBOOKS = ("private_address", "release", "drain_host", "drained_hosts")
#: Beside the names of roles: how variables begin that somebody may take for ours.
PREFIXES = ("canary", "drain", "drained")
#: Characters of a secret; shorter ones may be anybody's words.
SECRET_MIN = 8
#: How alike names are that are taken for each other: of ours, of settings, and of anybody's.
ALIKE, ALIKE_SETTING, VERY_ALIKE = 0.65, 0.8, 0.87
#: A lookup or another variable: what it is, is known when it is used.
_TEMPLATE = re.compile(r"\{\{|\{%")
_NUMBER = re.compile(r"-?[0-9]+")
#: Names of before that releases still take, beside those that .env.example has.
FORMER = frozenset({"BATCH_RING_MS"})
#: What the libraries and programs beneath read in the environment.
BENEATH = re.compile(
    r"(?i:(?:https?|all|no)_proxy)|SSL_CERT_(?:FILE|DIR)|TZ|LANG|LC_\w+|LD_PRELOAD"
    r"|(?:PYTHON|MALLOC_|OTEL_)\w+|GUNICORN_CMD_ARGS|WEB_CONCURRENCY"
)


def asked_groups(groups: Mapping[str, Sequence[str]], hostvars: Any) -> list[str]:  # noqa: ANN401 - Ansible's, and untyped
    """Return what is wrong with the groups of an inventory: group → its hosts."""
    faults = []
    is_elsewhere = any(ELSEWHERE & {*_written(hostvars, host)} for host in hostvars)
    for name, (least, most) in GROUPS.items():
        hosts = groups.get(name, [])
        if len(hosts) < least and not (name == "ledger" and is_elsewhere):
            faults.append(f"the inventory has no host in the group {name}")
        if most and len(hosts) > most:
            faults.append(f"the group {name} has {len(hosts)} hosts: it may have {most}")
    for name, hosts in groups.items():
        near = _near(name.lower(), GROUPS, ALIKE)
        if name in {*GROUPS, "all", "ungrouped"} or not near:
            continue
        # A part of a group may be called after it.
        if not set(hosts) <= set(groups.get(near, [])):
            faults.append(
                f"{name} is no group that is played on: did you mean {near}? "
                f"A part of it may be called so if {near} has its hosts too"
            )
    return faults


def asked_variables(hostvars: Any) -> list[str]:  # noqa: ANN401 - Ansible's, and untyped
    """Return what is wrong with the variables of all hosts, by their names and types."""
    faults: dict[str, None] = {}
    for host in hostvars:
        faults |= dict.fromkeys(faults_of(_written(hostvars, host)))
    return list(faults)


def _written(hostvars: Any, host: str) -> Variables:  # noqa: ANN401 - Ansible's, and untyped
    """Return a host's variables as they were written: nothing is decrypted or looked up."""
    raw: Variables = hostvars.raw_get(host) if hasattr(hostvars, "raw_get") else hostvars[host]
    return raw


def faults_of(variables: Variables) -> Iterator[str]:
    """Yield each variable that no role reads, and each of another type than its role wants."""
    known, prefixes = set(_defaults()) | set(OF_PLAYBOOKS), (*_roles(), *PREFIXES)
    for name, value in variables.items():
        if name in known:
            yield from _faults_of_type(name, value)
        elif name.startswith("ansible_") or name in {"groups", "group_names"}:
            continue
        else:
            is_ours = name.lower().startswith(tuple(f"{it}_" for it in prefixes))
            near = _near(name.lower(), known, ALIKE if is_ours else VERY_ALIKE)
            if is_ours or near:
                own = "" if near else ": variables of your own need names that begin otherwise"
                yield f"{name} is no variable of these playbooks{_meant(near) or own}"


def _faults_of_type(name: str, value: object) -> Iterator[str]:
    """Yield what is wrong with a variable that its role declares in meta/argument_specs.yml."""
    option = _options().get(name, {})
    if value is None:
        yield f"{name} has no value: write one, or take it out"
    elif "type" in option and not (isinstance(value, str) and _TEMPLATE.search(value)):
        wanted, fits = TYPES[option["type"]]
        if not fits(value):
            example = f""", by -e as JSON: -e '{{"{name}": …}}'""" if isinstance(value, str) else ""
            yield f"{name} is {_kind(value)}: it must be {wanted}{example}"
        elif option.get("choices") and value not in option["choices"]:
            yield f"{name} must be one of {', '.join(option['choices'])}"


def _is_text(value: object) -> bool:
    return not isinstance(value, bool | list | tuple | Mapping)


#: Types of argument specs → what they are called, and whether a value is of one. Stricter than
#: Ansible, which takes a text for a list of one, and roles would take its letters.
TYPES: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "dict": ("a table of names and values", lambda value: isinstance(value, Mapping)),
    "int": (
        "a whole number",
        lambda value: not isinstance(value, bool) and bool(_NUMBER.fullmatch(str(value))),
    ),
    "list": ("a list", lambda value: isinstance(value, list | tuple)),
    "path": ("a path", _is_text),
    "str": ("a text", _is_text),
}


def _kind(value: object) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    found = [name for kind, name in kinds.items() if isinstance(value, kind)]
    return found[0] if found else "a table" if isinstance(value, Mapping) else "a text"


def asked_settings(
    settings: Variables, secrets: Variables, example: str, accounts: str
) -> list[str]:
    """Return what is wrong with the names of settings and secrets, and with what values are.

    ``example`` is the release's .env.example, which has every setting, and ``accounts`` the text
    of accounts.toml, which names secrets. What is no setting and like none is told of a secret only
    elsewhere: it may be one of an account that is gone.
    """
    named = {value for _, value in _texts(tomllib.loads(accounts))}
    known = _settings_of(example) | named | FORMER
    given = {*settings, *secrets}
    faults = []
    for of, values in (("deployment_settings", settings), ("deployment_secrets", secrets)):
        for name, value in values.items():
            if not _is_text(value) or value is None:
                kind = "nothing" if value is None else _kind(value)
                faults.append(f"{of}.{name} is {kind}: it must be a text or a number")
            if name in known or BENEATH.fullmatch(name):
                continue
            near = _near(name.upper(), known - given, ALIKE_SETTING)
            if of == "deployment_settings" or near:
                faults.append(f"{of} has {name}, which is no setting{_meant(near)}")
    both = sorted({*settings} & {*secrets})
    faults += [f"{name} is in deployment_settings and in deployment_secrets" for name in both]
    return faults


def _texts(read: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a TOML file, after the key that it is under."""
    if isinstance(read, str):
        yield key, read
    elif isinstance(read, dict):
        for name, value in read.items():
            yield from _texts(value, name)
    elif isinstance(read, list):
        for value in read:
            yield from _texts(value, key)


def asked_files(accounts: str, prompts: str) -> list[str]:
    """Return what is wrong with the files of accounts and prompts, by their paths."""
    faults = []
    if not Path(prompts).is_dir():
        faults.append(f"there is no directory {prompts} of prompts (deployment_prompts_directory)")
    try:
        read = tomllib.loads(Path(accounts).read_text())
    except FileNotFoundError:
        faults.append(f"there is no file {accounts} of accounts (deployment_accounts_file)")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{accounts} cannot be read: {error}")
    except tomllib.TOMLDecodeError as error:
        faults.append(f"{accounts} is no TOML: {error}")
    else:
        named = {Path(value).name for key, value in _texts(read) if key == "prompt_file"}
        missing = sorted(name for name in named if not Path(prompts, name).is_file())
        faults += [f"{accounts} names {it}, which is not in {prompts}" for it in missing]
    return faults


def asked_hosts(groups: Mapping[str, Sequence[str]], out: Sequence[str] = ()) -> list[str]:
    """Return every host of a group that is played on; of those ``out`` only what is a server."""
    hosts = (
        host
        for name in GROUPS
        for host in groups.get(name, [])
        if name not in APPLICATION or host not in out
    )
    return list(dict.fromkeys(hosts))


def asked_silence(pings: Mapping[str, Variables]) -> list[str]:
    """Return why hosts do not answer: host → what ping came to."""
    faults = []
    for host, told in pings.items():
        if "ping" in told or told.get("skipped"):
            continue
        why = (
            str(told.get("msg", "")).removeprefix("Task failed:").replace(">>> Standard Error", "")
        )
        why = " ".join(why.split()).rstrip(".")
        hint = ": play with -K, which asks for the password" if "password" in why else ""
        what = "cannot be reached" if told.get("unreachable") else "does not let us work"
        faults.append(f"{host} {what}: {why}{hint}")
    return faults


def asked_tags(run: Sequence[str], known: Sequence[str], skipped: Sequence[str]) -> list[str]:
    """Return what is wrong with --tags and --skip-tags; ``known`` are those of the playbook."""
    half = "would leave out what belongs together"
    those = f"the tags are {', '.join(known)}" if known else "this playbook has no tags"
    # Servers alone are whole without the rest, and the rest without them.
    may_skip = {"servers"} & {*known}
    return [
        *(f"--tags {tag} {half}: {those}" for tag in run if tag not in {"all", *known}),
        *(f"--skip-tags {tag} {half}: {those}" for tag in skipped if tag not in may_skip),
    ]


def asked_limit(played: Sequence[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what is wrong where --limit leaves only the hosts ``played`` of a whole."""
    left_out = sorted({host for name in GROUPS for host in groups.get(name, [])} - {*played})
    if not left_out:
        return []
    hosts = ", ".join(left_out)
    return [f"--limit leaves out {hosts}: a handover is of all hosts, play it without"]


def asked_changes(
    running: Mapping[str, str],
    wanted: Variables,
    secrets: Variables,
    example: str,
    *,
    with_lines: bool,
) -> list[str]:
    """Return what is another in a deployment than in the one that runs, without any secret's value.

    ``running``: its files, path → text. ``wanted``: ``plain``, the settings for all its processes,
    the text of ``accounts``, and ``prompts``, name → text. ``secrets``: those of the inventory.
    ``with_lines``: those of accounts and prompts too.
    """
    known = _settings_of(example) | {it for _, it in _texts(tomllib.loads(wanted["accounts"]))}
    # What no setting and no account has is handed to nobody.
    handed = {name: value for name, value in secrets.items() if name in known}
    after = {name: str(it) for name, it in (wanted["plain"] | handed).items() if str(it)}
    before = _environment(running)
    changes = [f"{name}: {how}" for name, how in _differing(before, after)]
    texts = {f"prompts/{name}": text for name, text in wanted["prompts"].items()}
    texts["accounts.toml"] = wanted["accounts"]
    was = {name: text for name, text in running.items() if name in texts or "/" in name}
    hidden = [it for name, it in (before | after).items() if name not in wanted["plain"]]
    for name, how in _differing(was, texts):
        changes.append(f"{name}: {how}")
        lines = unified_diff(was.get(name, "").splitlines(), texts.get(name, "").splitlines(), n=1)
        changes += [_masked(line, hidden) for line in list(lines)[2:] if with_lines]
    return changes


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name of each text that is not the same, and how it differs."""
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield name, "gone" if name not in after else "another" if name in before else "new"


def asked_text(path: str) -> str:
    """Return the text of a file on the controller."""
    return Path(path).read_text()


def _settings_of(example: str) -> set[str]:
    """Return the settings in a release's .env.example."""
    # Behind them are secrets of accounts that nobody need have.
    ours = example.partition("# -- Secrets that accounts.toml names")[0]
    return set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", ours, re.MULTILINE))


def _environment(running: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a deployment's files, but for addresses of single roles."""
    found = re.findall(r'^(\w+)="(.*)"$', running.get("env", ""), re.MULTILINE)
    variables = {name: re.sub(r"\\(.)", r"\1", value) for name, value in found}
    for name, text in running.items():
        variables |= json.loads(text) if name.startswith("secrets-") else {}
    return {name: it for name, it in variables.items() if it and name != "RELEASE"}


def _masked(line: str, values: Iterable[str]) -> str:
    """Return a line without what is a secret's value."""
    for value in values:
        line = line.replace(value, "***") if len(value) >= SECRET_MIN else line
    return line


def asked_summary(groups: Mapping[str, Sequence[str]], drained: Sequence[str]) -> list[str]:
    """Return who does what, a line for each host that is played on."""
    lines = []
    for host in asked_hosts(groups):
        does = ", ".join(name for name in GROUPS if host in groups.get(name, []))
        lines.append(f"  {host}: {does}{', drained' if host in drained else ''}")
    return lines


def _near(name: str, known: Iterable[str], alike: float) -> str:
    return next(iter(get_close_matches(name, sorted(known), 1, alike)), "")


def _meant(near: str) -> str:
    return f": did you mean {near}?" if near else ""


@cache
def _roles() -> tuple[str, ...]:
    return tuple(path.name for path in ROLES.iterdir() if path.is_dir())


@cache
def _defaults() -> dict[str, Any]:
    """Return the variables that roles have defaults for."""
    found: dict[str, Any] = {}
    for path in ROLES.glob("*/defaults/main.yml"):
        found |= yaml.safe_load(path.read_text()) or {}
    return found


@cache
def _options() -> dict[str, Variables]:
    """Return what roles say of their variables: name → its option."""
    found: dict[str, Variables] = {}
    for path in ROLES.glob("*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values():
            found |= entry.get("options", {})
    return found


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        found: list[Callable[..., Any]] = [
            *(asked_changes, asked_files, asked_groups, asked_hosts, asked_limit, asked_settings),
            *(asked_silence, asked_summary, asked_tags, asked_text, asked_variables),
        ]
        return {it.__name__: it for it in found}
