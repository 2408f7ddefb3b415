"""The settings: one frozen object, read once from the environment, the only reader of it.

A process that must not run like this is told all its mistakes at once, and never starts.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource

from runtime import bounds
from runtime.mistakes import Mistake, problem_of, refuse, unknown_names
from runtime.secrecy import secret_problem
from runtime.setting_model import DEVELOPMENT_PRIVACY_KEY, Settings
from runtime.urls import is_redis, masked, place_of

__all__ = [
    "DEVELOPMENT_PRIVACY_KEY",
    "Settings",
    "load_settings",
    "process_environment",
    "setting_names",
    "supervisor_environment",
    "valid_settings",
]

#: What may be told of a value that a message is about.
_HIDDEN = frozenset({"privacy_key", "console_token", "sentry_dsn"})
_MASKED = frozenset({"redis_url", "broker_url"})
_OF_SUPERVISOR = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


def setting_names() -> list[str]:
    """Return the name of every setting, as the environment has it."""
    return [name.upper() for name in Settings.model_fields]


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in ``environ``, that of the process by default; an empty value is unset.

    Raise ConfigurationError with every mistake on a line of its own.
    """
    environ = process_environment() if environ is None else environ
    settings, mistakes = _validated(environ)
    crossed = [it for names, it in _cross_mistakes(settings) if names.isdisjoint(mistakes)]
    refuse("settings", [*unknown_names(environ, setting_names()), *mistakes.values(), *crossed])
    return settings


def valid_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings with defaults in place of those that are mistakes: to look further."""
    return _validated(environ)[0]


def _validated(environ: Mapping[str, str]) -> tuple[Settings, dict[str, Mistake]]:
    names = {name.upper(): name for name in Settings.model_fields}
    given = {names[name]: value for name, value in environ.items() if name in names and value}
    try:
        return Settings.model_validate(given), {}
    except ValidationError as error:
        details = {str(detail["loc"][0]): detail for detail in error.errors()}
    mistakes = {
        name: _mistake(name, problem_of(detail), given[name]) for name, detail in details.items()
    }
    valid = {name: value for name, value in given.items() if name not in mistakes}
    return Settings.model_validate(valid), mistakes


def process_environment(env_file: Path = Path(".env")) -> Mapping[str, str]:
    """Return the environment over the ``.env`` of the working directory, if there is one."""
    source = DotEnvSettingsSource(Settings, env_file=env_file, case_sensitive=True)
    given = {name: value for name, value in source.env_vars.items() if value is not None}
    return given | dict(os.environ)


def supervisor_environment() -> Mapping[str, str]:
    """Return what a supervisor told this very process; a file has no say in it."""
    return {name: os.environ[name] for name in _OF_SUPERVISOR if name in os.environ}


def _mistake(name: str, problem: str, value: str) -> Mistake:
    if name in _HIDDEN:
        return Mistake(name.upper(), problem)
    return Mistake(name.upper(), problem, masked(value) if name in _MASKED else value)


def _cross_mistakes(settings: Settings) -> Iterator[tuple[frozenset[str], Mistake]]:
    """Yield what is wrong between settings: the fields concerned, and the mistake."""
    for limits, mistake in bounds.order_mistakes(
        settings.limits(), lambda name: f"BATCH_{name.upper()}"
    ):
        yield frozenset(f"batch_{name}" for name in limits), mistake
    broker = settings.broker_url
    if is_redis(broker) and place_of(broker) == place_of(settings.redis_url):
        why = "must not be the database of REDIS_URL: the broker's upkeep would block the ledger"
        yield _MASKED, _mistake("broker_url", why, broker)
    if not settings.is_production:
        return
    for name in ("privacy_key", "console_token"):
        value = getattr(settings, name)
        if weakness := secret_problem("" if value == DEVELOPMENT_PRIVACY_KEY else value):
            yield frozenset({name}), Mistake(name.upper(), weakness)
    if settings.privacy_key == settings.console_token != "":
        problem = "must not be the same as PRIVACY_KEY"
        yield frozenset({"privacy_key", "console_token"}), Mistake("CONSOLE_TOKEN", problem)
