"""An installation in a directory of its own, with accounts, a prompt, secrets; and a Sentry."""

from pathlib import Path

import pytest

ACCOUNTS = """
[[account]]
id = "salon-1"
channel = "whatsapp_cloud"
phone_number_id = "100000000000001"
access_token_env = "SALON_TOKEN"
app_secret_env = ["SALON_APP_SECRET", "SALON_NEXT_APP_SECRET"]
verify_token_env = "SALON_VERIFY_TOKEN"
language = "en"
timezone = "Europe/Berlin"
prompt_file = "prompt.md"

[account.model]
provider = "openai_compatible"
model = "some-model"
api_key_env = "MODEL_KEY"

[account.batch]
idle_ms = 4000

[[account]]
id = "salon-2"
channel = "venom"
api_url = "http://127.0.0.1:9/"
token_env = "GATEWAY_TOKEN"
webhook_secret_env = "GATEWAY_SECRET"
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
ambiguous = "resend"

[account.model]
provider = "anthropic"
model = "some-model"
api_key_env = "MODEL_KEY"

[[account]]
id = "salon-3"
channel = "simulator"
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"

[account.model]
provider = "scripted"
"""

SECRETS = {
    "SALON_TOKEN": "value-of-salon-token",
    "SALON_APP_SECRET": "value-of-app-secret",
    "SALON_NEXT_APP_SECRET": "value-of-next-app-secret",
    "SALON_VERIFY_TOKEN": "value-of-verify-token",
    "GATEWAY_TOKEN": "value-of-gateway-token",
    "GATEWAY_SECRET": "value-of-gateway-secret",
    "MODEL_KEY": "value-of-model-key",
}


@pytest.fixture
def accounts_file(tmp_path: Path) -> Path:
    (tmp_path / "prompt.md").write_text("Open from 9:00 to 18:00. A haircut: 35 euro.\n")
    path = tmp_path / "accounts.toml"
    path.write_text(ACCOUNTS)
    return path
