"""The webhook of Venom, WPPConnect and small gateways in front of them: one address per account."""

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus

import falcon

from channels.signature import gateway_matches, secret_matches
from channels.venom import parse
from runtime.build import Runtime
from web.body import decode, read_raw
from web.errors import RefusalError
from web.intake import acknowledge

log = logging.getLogger(__name__)

CHANNEL = "venom"


class VenomWebhook:
    """Takes messages of an account from its gateway, which proves itself by a shared secret."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_post(self, req: falcon.Request, resp: falcon.Response, account_id: str) -> None:
        """Take what the gateway delivers; the module ``web.intake`` says with what outcome."""
        config = self._runtime.accounts.config(account_id)
        if config is None or config.channel != CHANNEL:
            log.warning("webhook.unknown_account", extra={"count": 1})
            raise RefusalError(
                HTTPStatus.NOT_FOUND, "unknown_account", "account: no venom account has this id"
            )
        raw = read_raw(req)
        if not (_knows_secret(req, config.secrets) or _is_signed(req, raw, config.secrets)):
            log.warning("webhook.refused", extra={"channel": CHANNEL, "reason": "secret"})
            raise RefusalError(
                HTTPStatus.UNAUTHORIZED,
                "secret",
                "X-Webhook-Secret, Authorization: Bearer or X-Timestamp with X-Signature: "
                "must carry or prove the account's secret",
            )
        acknowledge(self._runtime, parse(decode(req, raw), account_id), resp)


def _knows_secret(req: falcon.Request, secrets: Sequence[str]) -> bool:
    scheme, _, token = (req.auth or "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    given = (req.get_header("X-Webhook-Secret") or "", bearer)
    return any(secret_matches(text, secrets) is not None for text in given if text)


def _is_signed(req: falcon.Request, raw: bytes, secrets: Sequence[str]) -> bool:
    signer = gateway_matches(
        raw,
        method=req.method,
        path=req.path,
        timestamp=req.get_header("X-Timestamp") or "",
        signature=req.get_header("X-Signature") or "",
        secrets=secrets,
        now_ms=time.time_ns() // 1_000_000,
    )
    return signer is not None
