"""The canary's webhook: the same way in as a customer's message has, proved by its own secret."""

import logging
from http import HTTPStatus

import falcon

from batching.model import CANARY_ACCOUNT
from canary.channel import parse
from channels.signature import secret_matches
from runtime.build import Runtime
from web.body import decode, read_raw
from web.errors import RefusalError
from web.intake import acknowledge

log = logging.getLogger(__name__)


class CanaryWebhook:
    """Takes the scheduler's synthetic message."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Take the message; the module ``web.intake`` says with what outcome."""
        raw = read_raw(req)
        config = self._runtime.accounts.config(CANARY_ACCOUNT)
        given = req.get_header("X-Webhook-Secret") or ""
        if config is None or secret_matches(given, config.secrets) is None:
            log.warning("webhook.refused", extra={"channel": "canary", "reason": "secret"})
            raise RefusalError(
                HTTPStatus.UNAUTHORIZED, "secret", "X-Webhook-Secret: must be the installation's"
            )
        acknowledge(self._runtime, parse(decode(req, raw)), resp)
