"""WhatsApp Cloud API (Meta): webhooks in, text messages out."""

from channels.provider import Challenge, ChannelAccount, Outside, Provider, Refusal
from channels.whatsapp_cloud.inbound import challenge, parse, verify
from channels.whatsapp_cloud.send import Config, WhatsAppCloud

__all__ = ["WHATSAPP_CLOUD", "Config", "WhatsAppCloud", "parse"]


def _build(account: ChannelAccount, outside: Outside) -> WhatsAppCloud:
    config: Config = account.config
    return WhatsAppCloud(config, account.secrets[config.access_token_env], outside.http)


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
