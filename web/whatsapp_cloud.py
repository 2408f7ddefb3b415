"""The webhook of Meta's WhatsApp Cloud API, for all accounts and all apps at one address."""

import hmac
import logging
from collections import defaultdict
from http import HTTPStatus

import falcon

from channels.signature import sha256_matches
from channels.whatsapp_cloud import parse
from runtime.build import Runtime
from web.body import decode, read_raw
from web.errors import RefusalError
from web.intake import acknowledge

log = logging.getLogger(__name__)

CHANNEL = "whatsapp_cloud"


class WhatsAppCloudWebhook:
    """``GET`` proves to Meta that the address is ours, ``POST`` takes messages and statuses."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        configs = [config for config in runtime.accounts if config.channel == CHANNEL]
        self._verify_tokens = [_bytes(c.verify_token) for c in configs if c.verify_token]
        owners: defaultdict[str, set[str]] = defaultdict(set)
        for config in configs:
            for secret in config.secrets:
                owners[secret].add(config.account_id)
        self._secrets = tuple(owners)
        self._owners = [frozenset(owners[secret]) for secret in self._secrets]

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Return the challenge to whoever knows a verify token, 403 to others."""
        given = _bytes(req.get_param("hub.verify_token") or "")
        # Every token is compared, so that the time taken does not tell which one was near.
        known = sum(hmac.compare_digest(given, token) for token in self._verify_tokens)
        if req.get_param("hub.mode") != "subscribe" or not known:
            log.warning("webhook.refused", extra={"channel": CHANNEL, "reason": "verify_token"})
            raise RefusalError(
                HTTPStatus.FORBIDDEN,
                "verify_token",
                "hub.mode: must be subscribe; hub.verify_token: must be an account's",
            )
        resp.content_type = falcon.MEDIA_TEXT
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.text = req.get_param("hub.challenge") or ""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take what Meta delivers; the module ``web.intake`` says with what outcome."""
        raw = read_raw(req)
        header = req.get_header("X-Hub-Signature-256") or ""
        signer = sha256_matches(raw, header, self._secrets)
        if signer is None:
            log.warning("webhook.refused", extra={"channel": CHANNEL, "reason": "signature"})
            raise RefusalError(
                HTTPStatus.UNAUTHORIZED,
                "signature",
                "X-Hub-Signature-256: does not fit the body and any app secret",
            )
        accounts = _Accounts(self._runtime, self._owners[signer])
        parsed = parse(decode(req, raw), accounts)
        if parsed.unknown_accounts and not accounts.known:
            log.error("webhook.unknown_account", extra={"count": parsed.unknown_accounts})
            raise RefusalError(
                HTTPStatus.NOT_FOUND,
                "unknown_account",
                "phone_number_id: no account of this app has it",
            )
        acknowledge(self._runtime, parsed, resp)


class _Accounts:
    """Finds accounts by number, but only those whose own app signed the body."""

    def __init__(self, runtime: Runtime, allowed: frozenset[str]) -> None:
        self._accounts = runtime.accounts
        self._allowed = allowed
        self.known = False

    def __call__(self, phone_number_id: str) -> str | None:
        account_id = self._accounts.by_phone_number_id(phone_number_id)
        if account_id not in self._allowed:
            return None
        self.known = True
        return account_id


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
