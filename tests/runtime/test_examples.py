"""The example files say what the code does; the documents are compared in tests/test_docs.py."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from batching.errors import ConfigurationError
from channels import CHANNELS
from llm import MODELS
from runtime.accounts import known_names, load_accounts
from runtime.settings import load_settings, process_environment, setting_names

ROOT = Path(__file__).parent.parent.parent


def defaults_in_the_example() -> Iterator[tuple[str, str]]:
    """Yield the settings of .env.example, before the secrets of accounts begin."""
    text = (ROOT / ".env.example").read_text().split("# -- Secrets")[0]
    yield from re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE)


def test_example_environment_shows_every_setting_with_its_default() -> None:
    shown = dict(defaults_in_the_example())

    assert sorted(shown) == sorted(setting_names())
    assert shown.pop("ENVIRONMENT") == "production"
    assert load_settings(shown) == load_settings({})


def test_example_environment_is_for_production_and_asks_for_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever follows the README with a real number must not end in a mode for trying things."""
    copy = tmp_path / ".env"
    copy.write_text((ROOT / ".env.example").read_text())
    for name in os.environ:
        monkeypatch.delenv(name)

    with pytest.raises(ConfigurationError, match=r"^settings: PRIVACY_KEY: is missing; [^\n]*$"):
        load_settings(process_environment(copy))


def test_example_accounts_are_valid_and_show_every_key() -> None:
    path = ROOT / "accounts.example.toml"
    text = path.read_text()
    settings = load_settings({"ACCOUNTS_FILE": str(path)})
    named = dict.fromkeys(re.findall(r'_env = "(\w+)"', text), "value")

    configs = load_accounts(settings, named)

    assert {config.channel for config in configs} == set(CHANNELS)
    assert {config.model.provider for config in configs} == set(MODELS)
    assert [name for name in known_names() if not re.search(rf"\b{name}\b", text)] == []
    environment = (ROOT / ".env.example").read_text()
    assert [name for name in named if f"#{name}=" not in environment] == []
