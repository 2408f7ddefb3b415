"""WhatsApp Cloud API (Meta): webhooks in, text messages out."""

from channels.provider import Challenge, Provider, Refusal
from channels.whatsapp_cloud.codes import BY_NAME
from channels.whatsapp_cloud.inbound import challenge, is_signed, parse, verify
from channels.whatsapp_cloud.news import CODES
from channels.whatsapp_cloud.send import PREFIX, Config, build

__all__ = ["WHATSAPP_CLOUD", "parse"]

WHATSAPP_CLOUD = Provider(
    name="whatsapp_cloud",
    config=Config,
    secrets_field="app_secret_env",
    verify=verify,
    is_signed=is_signed,
    proofs=("x-hub-signature-256",),
    refusal=Refusal("signature", "X-Hub-Signature-256: does not fit the body and any app secret"),
    parse=parse,
    shared=True,
    number_field="phone_number_id",
    group_field="business_account_id",
    challenge=Challenge(
        challenge,
        "verify_token_env",
        Refusal(
            "verify_token", "hub.mode: must be subscribe; hub.verify_token: must be an account's"
        ),
    ),
    build=build,
    codes={**CODES, **BY_NAME},
    prefix=PREFIX,
)
