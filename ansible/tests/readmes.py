"""Writes README.md of every role: its variables, by its argument specification and its defaults."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
#: Of a longer default, or one that is computed, the table says so, and where it stands.
_DEFAULT_LENGTH_MAX = 40


def readme(role: Path) -> str:
    """Return the text for a role: what it does, then a table for each of its entry points."""
    lines = [f"# Role `{role.name}`"]
    for entry, specification in _specifications(role).items():
        if entry != "main":
            lines += ["", f"## With `tasks_from: {entry}.yml`"]
        lines += ["", f"{specification['short_description']}."]
        if specification.get("options"):
            lines += ["", "| Variable | Type | Default | What it is |", "|---|---|---|---|"]
            lines += _rows(specification["options"], defaults(role))
    return "\n".join([*lines, ""])


def options(role: Path) -> dict[str, Any]:
    """Return what the specification says of each variable, over all entry points."""
    every = _specifications(role).values()
    return {name: option for it in every for name, option in it.get("options", {}).items()}


def defaults(role: Path) -> dict[str, Any]:
    """Return the defaults of a role; empty where it has none."""
    path = role / "defaults" / "main.yml"
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _specifications(role: Path) -> dict[str, Any]:
    read = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
    specifications: dict[str, Any] = read["argument_specs"]
    return specifications


def _rows(options: dict[str, Any], values: dict[str, Any]) -> Iterator[str]:
    for name, option in options.items():
        kind = " or ".join(f"`{it}`" for it in option.get("choices", ())) or option["type"]
        description = option["description"].strip().replace("|", "\\|")
        default = "must be given" if option.get("required") else _default(values[name])
        yield f"| `{name}` | {kind} | {default} | {description} |"


def _default(value: object) -> str:
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        return "[computed](defaults/main.yml)"
    # As YAML has it: "" for an empty text, true and not True.
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000).removesuffix("\n...\n")
    text = text.strip()
    return f"`{text}`" if len(text) <= _DEFAULT_LENGTH_MAX else "[longer](defaults/main.yml)"


def main() -> int:
    """Write all of them."""
    for role in sorted(ROLES.iterdir()):
        (role / "README.md").write_text(readme(role))
    return 0


if __name__ == "__main__":
    sys.exit(main())
