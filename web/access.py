"""Who reads what: webhooks and ``/livez`` are for anybody, the operator's pages for a token."""

from http import HTTPStatus

import falcon

from channels.inbound import secret_matches
from runtime.settings import Settings
from web.errors import RefusalError
from web.guesses import Guesses

#: Where nobody but the developer is expected, so that pages are open until a token is set.
_OPEN_ENVIRONMENTS = frozenset({"development", "test", "demo"})


class Operators:
    """Knows operators by ``Authorization: Bearer`` with CONSOLE_TOKEN, as Prometheus sends it.

    Without that setting everybody is one on a developer's machine, and nobody elsewhere.
    """

    def __init__(self, settings: Settings, guesses: Guesses) -> None:
        self._guesses = guesses
        self._token = settings.console_token
        self._open = not self._token and settings.environment in _OPEN_ENVIRONMENTS

    def include(self, req: falcon.Request) -> bool:
        """Return whether an operator asks, at the address as it is written.

        The router reads ``//fleet`` as ``/fleet``, which a proxy that keeps ``/fleet`` to itself
        may let pass. A wrong token is a guess: ``Guesses``.
        """
        scheme, _, token = (req.auth or "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else ""
        if "//" in req.path:
            return False
        known = self._open or secret_matches(given, (self._token,)) is not None
        if given and not known:
            self._guesses.wrong("")
        return known

    def demand(self, req: falcon.Request) -> None:
        """Raise RefusalError, 401, for anybody else."""
        if not self.include(req):
            message = "Authorization: must be Bearer and the installation's CONSOLE_TOKEN"
            raise RefusalError(HTTPStatus.UNAUTHORIZED, "token", message)
