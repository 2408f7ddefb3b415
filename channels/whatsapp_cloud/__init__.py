"""WhatsApp Cloud API (Meta): webhooks in, text messages out."""

from typing import Annotated

from channels.provider import Challenge, ChannelAccount, Outside, Provider, Refusal
from channels.whatsapp_cloud.inbound import challenge, parse, verify
from channels.whatsapp_cloud.send import WhatsAppCloud
from config import Digits, EnvName, EnvNames, Table, Url, Whole

__all__ = ["WHATSAPP_CLOUD", "Config", "WhatsAppCloud", "parse"]


class Config(Table):
    """The keys of an account: a number of Meta's WhatsApp Cloud API."""

    phone_number_id: Digits
    access_token_env: EnvName
    app_secret_env: EnvNames
    verify_token_env: EnvName
    api_url: Url = "https://graph.facebook.com/v24.0"
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


def _build(account: ChannelAccount, outside: Outside) -> WhatsAppCloud:
    config: Config = account.config
    return WhatsAppCloud(
        phone_number_id=config.phone_number_id,
        access_token=account.secrets[config.access_token_env],
        api_url=config.api_url,
        http=outside.http,
        timeout_ms=config.timeout_ms,
    )


WHATSAPP_CLOUD = Provider(
    name="whatsapp_cloud",
    config=Config,
    secrets_field="app_secret_env",
    verify=verify,
    refusal=Refusal("signature", "X-Hub-Signature-256: does not fit the body and any app secret"),
    parse=parse,
    shared=True,
    number_field="phone_number_id",
    challenge=Challenge(
        challenge,
        "verify_token_env",
        Refusal(
            "verify_token", "hub.mode: must be subscribe; hub.verify_token: must be an account's"
        ),
    ),
    build=_build,
)
