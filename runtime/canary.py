"""The canary's account: in every installation, configured by nobody, seen by no customer."""

import hashlib
import hmac

from batching.model import CANARY_ACCOUNT, Limits
from runtime.accounts import AccountConfig, CanaryAccount, ScriptedModel
from runtime.settings import Settings

#: Short, so that its round trip tells of the service and not of the wait.
LIMITS = Limits(
    idle_ms=500, max_wait_ms=1_000, overdue_ms=60_000, reply_deadline_ms=600_000, max_attempts=3
)


def canary_account(settings: Settings) -> AccountConfig:
    """Return the account. Its webhook is proved by a secret that every process can make."""
    key = settings.privacy_key.encode()
    return AccountConfig(
        account_id=CANARY_ACCOUNT,
        channel="canary",
        limits=LIMITS,
        budget=settings.budget(),
        entry=CanaryAccount(
            id=CANARY_ACCOUNT,
            channel="canary",
            language="en",
            timezone="UTC",
            prompt_file="-",
            model=ScriptedModel(provider="scripted"),
        ),
        business="# Canary\n\nOpen every day from 0:00 to 24:00.\n",
        secrets=(hmac.new(key, b"canary webhook", hashlib.sha256).hexdigest(),),
        verify_token="",
        found={},
    )
