"""The accounts of an installation: one for each way in which an account can be set up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.webhooks import APP_SECRET

ACCESS_TOKEN = "e2e-access-token-77d0"
MODEL_KEY = "e2e-model-key-e94f"

#: What the accounts' secrets are called in the environment.
SECRETS = {
    "E2E_APP_SECRET": APP_SECRET,
    "E2E_ACCESS_TOKEN": ACCESS_TOKEN,
    "E2E_VERIFY_TOKEN": "e2e-verify-token-0a93",
    "E2E_MODEL_KEY": MODEL_KEY,
}


@dataclass(frozen=True, slots=True)
class BusinessNumber:
    """One account: its number at Meta, and what it sets differently from the others.

    ``phone_number_id``: of a gateway, ``channel`` "venom", its session.
    """

    account_id: str
    phone_number_id: str
    extra: str = ""
    model: Mapping[str, int] = field(default_factory=dict)
    channel: str = "whatsapp_cloud"
    batch: Mapping[str, int] = field(default_factory=dict)
    budget: Mapping[str, int] = field(default_factory=dict)


SALON = BusinessNumber("salon", "100001")
BARBER = BusinessNumber("barber", "100002")
#: Waits a second for Graph and for the model, and tries twice.
HASTY = BusinessNumber(
    "hasty",
    "100005",
    extra="timeout_ms = 1000",
    model={"timeout_ms": 1_000},
    batch={"max_attempts": 2},
)
#: Sends a text in doubt once more.
RESENDING = BusinessNumber("resending", "100006", extra='ambiguous = "resend"\ntimeout_ms = 1000')
#: Waits longer than what counts as slow; its calls hang in the tests of bad neighbours.
SLUGGISH = BusinessNumber(
    "sluggish", "100010", extra="timeout_ms = 6000", model={"timeout_ms": 12_000}
)
#: May ask twice an hour about one conversation.
THRIFTY = BusinessNumber("thrifty", "100008", budget={"conversation_hour": 2})
#: Is reached through a gateway.
GATEWAY = BusinessNumber("gateway", "default", channel="venom")

ALL = (SALON, BARBER, HASTY, RESENDING, SLUGGISH, THRIFTY, GATEWAY)


_CLOUD = """
phone_number_id = "{number}"
access_token_env = "E2E_ACCESS_TOKEN"
app_secret_env = "E2E_APP_SECRET"
verify_token_env = "E2E_VERIFY_TOKEN"
api_url = "{url}/v24.0"
"""
_GATEWAY = """
session = "{number}"
token_env = "E2E_ACCESS_TOKEN"
webhook_secret_env = "E2E_APP_SECRET"
api_url = "{url}"
"""


def accounts_toml(url: str, *, prompt_file: str, numbers: Sequence[BusinessNumber] = ALL) -> str:
    """Return the accounts file for ``numbers``; models and WhatsApp are at ``url``."""
    return "\n".join(_entry(number, url, prompt_file) for number in numbers)


def _entry(number: BusinessNumber, url: str, prompt_file: str) -> str:
    is_gateway = number.channel == "venom"
    return f"""
[[account]]
id = "{number.account_id}"
channel = "{number.channel}"
{(_GATEWAY if is_gateway else _CLOUD).format(number=number.phone_number_id, url=url)}
language = "en"
timezone = "Europe/Berlin"
prompt_file = "{prompt_file}"
{number.extra}

[account.model]
provider = "openai_compatible"
model = "invented"
base_url = "{url}/v1"
api_key_env = "E2E_MODEL_KEY"
{_lines(number.model)}

[account.batch]
{_lines(number.batch)}

[account.budget]
{_lines(number.budget)}
"""


def _lines(values: Mapping[str, int]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in values.items())
