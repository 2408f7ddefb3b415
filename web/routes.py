"""The addresses of providers, and the ``GET`` by which one makes sure that its address is ours."""

from http import HTTPStatus

import falcon

from channels.provider import Challenge, Provider
from runtime.build import Runtime
from web.webhooks import Bodies, Webhook, refused, request_of


def add_webhooks(app: falcon.App[falcon.Request, falcon.Response], runtime: Runtime) -> None:
    """Give ``app`` the address of every provider."""
    bodies = Bodies()
    for provider in runtime.channels.values():
        if provider.development_only and runtime.settings.is_production:
            continue
        resource = (
            ChallengedWebhook(runtime, provider, bodies, provider.challenge)
            if provider.challenge
            else Webhook(runtime, provider, bodies)
        )
        app.add_route(provider.address, resource)


class ChallengedWebhook(Webhook):
    """A webhook whose address the provider first asks to prove that it is ours."""

    def __init__(
        self, runtime: Runtime, provider: Provider, bodies: Bodies, challenge: Challenge
    ) -> None:
        super().__init__(runtime, provider, bodies)
        self._challenge = challenge
        self._secrets = [
            secret
            for config in runtime.accounts
            if config.channel == provider.name
            for secret in config.secrets_of(challenge.secrets_field)
        ]

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with the text that the provider expects. Raise RefusalError, 403."""
        answer = self._challenge.answer(request_of(req), self._secrets)
        if answer is None:
            if req.query_string:
                self.guesses.wrong("")
            raise refused(self._provider, self._challenge.refusal, HTTPStatus.FORBIDDEN)
        resp.content_type = falcon.MEDIA_TEXT
        resp.set_header("X-Content-Type-Options", "nosniff")
        resp.text = answer
