"""Venom and its kin: WPPConnect-server, and small gateways around such a library."""

from typing import Annotated

from channels.provider import ChannelAccount, Outside, Provider, Refusal
from channels.venom.inbound import parse, verify, verify_headers
from channels.venom.send import Flavour, VenomGateway
from config import EnvName, EnvNames, Table, Url, Whole, Word

__all__ = ["VENOM", "Config", "VenomGateway", "parse"]


class Config(Table):
    """The keys of an account: a number behind a Venom, WPPConnect or compatible gateway."""

    api_url: Url
    token_env: EnvName
    webhook_secret_env: EnvNames
    session: Word = "default"
    flavour: Flavour = "wppconnect"
    timeout_ms: Annotated[int, Whole(1_000, 60_000)] = 15_000


def _build(account: ChannelAccount, outside: Outside) -> VenomGateway:
    config: Config = account.config
    return VenomGateway(
        api_url=config.api_url,
        token=account.secrets[config.token_env],
        session=config.session,
        flavour=config.flavour,
        http=outside.http,
        timeout_ms=config.timeout_ms,
    )


VENOM = Provider(
    name="venom",
    config=Config,
    secrets_field="webhook_secret_env",
    verify=verify,
    # A gateway posts once, such as a picture with its bytes: what is too large does not come again.
    verify_headers=verify_headers,
    refusal=Refusal(
        "secret",
        "X-Webhook-Secret, Authorization: Bearer or Basic, or X-Timestamp with X-Signature"
        ": must carry or prove the account's secret",
    ),
    parse=parse,
    build=_build,
)
