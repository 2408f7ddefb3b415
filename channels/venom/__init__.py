"""Venom and its kin: WPPConnect-server, and small gateways around such a library."""

from channels.provider import Provider, Refusal
from channels.venom import news
from channels.venom.inbound import delivery_id, is_signed, parse, verify, verify_headers
from channels.venom.send import CODES, PREFIX, Config, build

__all__ = ["VENOM", "parse"]

VENOM = Provider(
    name="venom",
    config=Config,
    secrets_field="webhook_secret_env",
    verify=verify,
    # A gateway posts once, such as a picture with its bytes: what is too large does not come again.
    verify_headers=verify_headers,
    is_signed=is_signed,
    delivery_id=delivery_id,
    proofs=("x-webhook-secret", "authorization", "x-signature"),
    refusal=Refusal(
        "secret",
        "X-Webhook-Secret, Authorization: Bearer or Basic, or X-Timestamp with X-Signature"
        ": must carry or prove the account's secret",
    ),
    parse=parse,
    build=build,
    codes={**news.CODES, **CODES},
    prefix=PREFIX,
)
