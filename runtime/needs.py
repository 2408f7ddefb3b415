"""Which role needs which secrets: no process gets those of another.

What an account's secrets are for is decided by its provider, which declares the fields that prove
webhooks. Everything else is derived from that: what a process keeps, what the fleet compares, and
what hosts hand over to whom.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from channels import CHANNELS
from channels.provider import Provider
from config import ENV_SUFFIX, Table
from runtime.clients import Role
from runtime.settings import OF_ONE_ROLE, Settings, setting_names

if TYPE_CHECKING:
    from runtime.accounts import AccountConfig

#: What an account's secrets are for: to prove what is posted to us, to make and send answers, or
#: to tell people of alerts.
Purpose = Literal["webhooks", "answers", "alerts"]
#: The one role whose processes get them; operators' verbs get all.
NEEDED_BY: dict[Purpose, Role] = {"webhooks": "web", "answers": "worker", "alerts": "scheduler"}
#: The key of an account that names the variables with addresses for its alerts.
NOTIFY_FIELD = "notify_urls_env"


def env_names(table: Table, path: str = "") -> list[tuple[str, str]]:
    """Return the environment variables that a table names, each after the field that names it."""
    named: list[tuple[str, str]] = []
    for name, value in table:
        if name.endswith(ENV_SUFFIX) and value is not None:
            variables = value if isinstance(value, list) else [value]
            named += [(f"{path}{name}", variable) for variable in variables]
    return named


def named_secrets(
    provider: Provider, entry: Table, models: Iterable[tuple[str, Table]]
) -> dict[Purpose, list[tuple[str, str]]]:
    """Return for each purpose what ``env_names`` of an account and of its ``models`` does."""
    named: dict[Purpose, list[tuple[str, str]]] = {it: [] for it in NEEDED_BY}
    for name, variable in env_names(entry):
        purpose: Purpose = "webhooks" if name in provider.proof_fields else "answers"
        purpose = "alerts" if name == NOTIFY_FIELD else purpose
        named[purpose].append((name, variable))
    named["answers"] += [it for path, table in models for it in env_names(table, path)]
    return named


def variables_of(
    role: Role, configs: "Iterable[AccountConfig]", channels: Mapping[str, Provider] = CHANNELS
) -> set[str]:
    """Return the names of the environment variables that processes of ``role`` need.

    Settings, whether they are set or not, and what the accounts name.
    """
    names = {it for it in setting_names() if role in {OF_ONE_ROLE.get(it, role), "manage"}}
    for config in configs:
        named = named_secrets(channels[config.channel], config.entry, config.models)
        names |= {variable for it in purposes_of(role) for _, variable in named[it]}
    return names


def purposes_of(role: Role) -> list[Purpose]:
    """Return what processes of ``role`` need secrets for."""
    return [purpose for purpose, needing in NEEDED_BY.items() if role in {needing, "manage"}]


def secret_digests(
    settings: Settings, configs: "Sequence[AccountConfig]", role: Role
) -> dict[Purpose, str]:
    """Return a keyed digest of the secrets for each purpose of ``role``.

    Processes that have secrets for one purpose must agree on them.
    """
    return {
        purpose: settings.digest(
            json.dumps([it.secrets_for.get(purpose, {}) for it in configs], sort_keys=True)
        )
        for purpose in purposes_of(role)
    }
