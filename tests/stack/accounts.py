"""The accounts of an installation: one for each way in which an account can be set up."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.webhooks import APP_SECRET

#: What the accounts' secrets are called in the environment.
SECRETS = {
    "E2E_APP_SECRET": APP_SECRET,
    "E2E_ACCESS_TOKEN": "e2e-access-token-77d0",
    "E2E_VERIFY_TOKEN": "e2e-verify-token-0a93",
    "E2E_MODEL_KEY": "e2e-model-key-e94f",
}

Settings = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class BusinessNumber:
    """One account: its number at Meta, and what it sets differently from the others.

    ``phone_number_id``: of a gateway, ``channel`` "venom", its session. ``model``: over the usual
    settings, or all of them where it names a provider.
    """

    account_id: str
    phone_number_id: str
    extra: Settings = field(default_factory=dict)
    model: Settings = field(default_factory=dict)
    channel: str = "whatsapp_cloud"
    batch: Settings = field(default_factory=dict)
    budget: Settings = field(default_factory=dict)
    handover: Settings = field(default_factory=dict)


SALON = BusinessNumber("salon", "100001")
BARBER = BusinessNumber("barber", "100002")
#: Waits a second for Graph and for the model, and tries twice.
HASTY = BusinessNumber(
    "hasty", "100005", {"timeout_ms": 1_000}, {"timeout_ms": 1_000}, batch={"max_attempts": 2}
)
#: Sends a text in doubt once more.
RESENDING = BusinessNumber("resending", "100006", {"ambiguous": "resend", "timeout_ms": 1_000})
#: Waits longer than what counts as slow; its calls hang in the tests of bad neighbours.
SLUGGISH = BusinessNumber("sluggish", "100010", {"timeout_ms": 6_000}, {"timeout_ms": 12_000})
#: May ask twice an hour about one conversation.
THRIFTY = BusinessNumber("thrifty", "100008", budget={"conversation_hour": 2})
#: May ask eight times a day, so that one customer gets two questions.
SHARED = BusinessNumber("shared", "100012", budget={"account_day": 8}, batch={"idle_ms": 100})
#: Tells customers after a second that a person is still awaited.
PATIENT = BusinessNumber("patient", "100013", handover={"apology_ms": 1_000})
#: Waits by what is written, for so long that a busy machine does not mix its pauses up.
ATTENTIVE = BusinessNumber("attentive", "100014", {"window": "adaptive"}, batch={"idle_ms": 6_000})
#: Makes an answer anew where its customer writes again, and renews its leases often.
EAGER = BusinessNumber(
    "eager", "100015", {"on_new_message": "supersede"}, batch={"lease_ms": 3_000}
)
#: Is reached through a gateway.
GATEWAY = BusinessNumber("gateway", "default", channel="venom")

ALL = (
    SALON,
    BARBER,
    HASTY,
    RESENDING,
    SLUGGISH,
    THRIFTY,
    SHARED,
    PATIENT,
    ATTENTIVE,
    EAGER,
    GATEWAY,
)


def accounts_toml(url: str, *, prompt_file: str, numbers: Sequence[BusinessNumber] = ALL) -> str:
    """Return the accounts file for ``numbers``; models and WhatsApp are at ``url``."""
    return "\n".join(_entry(number, url, prompt_file) for number in numbers)


def _entry(number: BusinessNumber, url: str, prompt_file: str) -> str:
    account: Settings = {
        "id": number.account_id,
        "channel": number.channel,
        "language": "en",
        "timezone": "Europe/Berlin",
        "prompt_file": prompt_file,
    }
    cloud: Settings = {
        "phone_number_id": number.phone_number_id,
        "access_token_env": "E2E_ACCESS_TOKEN",
        "app_secret_env": "E2E_APP_SECRET",
        "verify_token_env": "E2E_VERIFY_TOKEN",
        "api_url": f"{url}/v25.0",
    }
    gateway: Settings = {
        "session": number.phone_number_id,
        "token_env": "E2E_ACCESS_TOKEN",
        "webhook_secret_env": "E2E_APP_SECRET",
        "api_url": url,
    }
    model: Settings = {
        "provider": "openai_compatible",
        "model": "invented",
        "base_url": f"{url}/v1",
        "api_key_env": "E2E_MODEL_KEY",
    }
    channel = gateway if number.channel == "venom" else cloud
    return "\n".join([
        "[[account]]",
        *_lines({**account, **channel, **number.extra}),
        "[account.model]",
        *_lines(number.model if "provider" in number.model else {**model, **number.model}),
        "[account.batch]",
        *_lines(number.batch),
        "[account.budget]",
        *_lines(number.budget),
        "[account.handover]",
        *_lines(number.handover),
    ])  # fmt: skip


def _lines(values: Settings) -> list[str]:
    # TOML writes these values as JSON does.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
