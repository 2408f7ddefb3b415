"""Turns an account as written into one with nothing left to find out: limits, prompt, secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from batching.limits import Budget, Limits
from runtime import bounds
from runtime.account_config import (
    AnyAccount,
    CanaryAccount,
    SimulatorAccount,
    VenomAccount,
    WhatsAppCloudAccount,
    env_names,
)
from runtime.accounts import AccountConfig
from runtime.mistakes import Mistake

PROMPT_BYTES_MAX = 64_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What accounts are read against: secrets, the settings' limits, and how serious it is."""

    environ: Mapping[str, str]
    limits: Limits
    budget: Budget
    production: bool


def resolve(
    entry: AnyAccount, where: str, folder: Path, around: Surroundings
) -> tuple[AccountConfig, list[Mistake]]:
    """Return the account, usable if there are no mistakes, and the mistakes."""
    found, mistakes = _secrets(entry, where, around.environ)
    overrides = entry.batch.model_dump(exclude_none=True)
    limits = replace(
        around.limits, **{bounds.LIMIT_FIELDS[name]: value for name, value in overrides.items()}
    )
    ordered = bounds.order_mistakes(limits, "batch.{}".format, f"{where}: ")
    mistakes += [mistake for _, mistake in ordered]
    business, problem = _prompt(folder / entry.prompt_file)
    if problem:
        mistakes.append(Mistake(f"{where}: prompt_file", problem, entry.prompt_file))
    if isinstance(entry, SimulatorAccount) and around.production:
        problem = "is refused with ENVIRONMENT=production: anybody could write to it"
        mistakes.append(Mistake(f"{where}: channel", problem, entry.channel))
    secrets, verify_token = _webhook_secrets(entry)
    config = AccountConfig(
        account_id=entry.id,
        channel=entry.channel,
        limits=limits,
        budget=replace(around.budget, **entry.budget.model_dump(exclude_none=True)),
        entry=entry,
        business=business,
        secrets=tuple(found[name] for name in secrets),
        verify_token=found.get(verify_token, ""),
        found=found,
    )
    return config, mistakes


def _webhook_secrets(entry: AnyAccount) -> tuple[list[str], str]:
    """Return the variables that prove a webhook, and the one of the verify token, "" if none."""
    match entry:
        case WhatsAppCloudAccount():
            return entry.app_secret_env, entry.verify_token_env
        case VenomAccount():
            return entry.webhook_secret_env, ""
        case SimulatorAccount() | CanaryAccount():
            return [], ""


def _secrets(
    entry: AnyAccount, where: str, environ: Mapping[str, str]
) -> tuple[dict[str, str], list[Mistake]]:
    """Return the value of each variable that the account names, and what is wrong with them."""
    found, mistakes = dict[str, str](), list[Mistake]()
    for field, variable in env_names(entry):
        found[variable] = value = environ.get(variable, "")
        if not value:
            problem = "this environment variable is not set"
        elif not value.isascii() or not value.isprintable() or " " in value:
            problem = "this environment variable holds a space, a line end or a non-ASCII character"
        else:
            continue
        mistakes.append(Mistake(f"{where}: {field}", problem, variable))
    return found, mistakes


def _prompt(path: Path) -> tuple[str, str]:
    """Return the text of a prompt file, and what is wrong with it, "" if nothing is."""
    try:
        raw = path.read_bytes()
        text = raw.decode()
    except OSError as error:
        return "", f"cannot be read ({error.strerror}); it is looked for beside the accounts file"
    except UnicodeDecodeError:
        return "", "must be UTF-8 text"
    if not text.strip() or len(raw) > PROMPT_BYTES_MAX:
        return "", f"has {len(raw)} bytes: must be 1..{PROMPT_BYTES_MAX}, and not blank"
    return text, ""
