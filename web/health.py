"""``/livez``, ``/readyz``, ``/healthz`` and ``/fleet``: for the load balancer and the operator."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

import falcon

from batching.errors import LedgerUnavailableError
from runtime import health
from runtime.build import Runtime
from runtime.fleet import drift, members, missing
from runtime.health import CheckResult, Context, Level
from runtime.meanings import meaning
from web.access import Operators

Checks = Mapping[str, Callable[[Context], list[CheckResult]]]

#: What must hold of this process for webhooks to be sent to it: what it takes is kept, and somebody
#: will look there. The others need the first. That no worker lives takes no host out.
READY: Checks = {
    "ledger": health.check_writable,
    "identity": health.check_ledger_id,
    "flusher": health.check_flushed,
    "fleet": health.check_own_version,
}
#: What must hold for a message accepted now to be answered, by whatever host.
WORKS: Checks = {
    "ledger": health.check_writable,
    "identity": health.check_ledger_id,
    "flusher": health.check_flusher,
    "roles": health.check_roles,
    "fleet": health.check_agreement,
}
#: What an operator is told besides: one account's fault is not the installation's.
READY_DETAILS: Checks = {"channels": health.check_channels}
WORKS_DETAILS: Checks = {
    "channels": health.check_channels,
    "accounts": health.check_circuits,
    "failing": health.check_failing,
    "models": health.check_models,
    "overdue": health.check_overdue,
    "canary": health.check_canary,
}

#: How long an answer of ``/readyz`` or ``/healthz`` is good, ms.
KNOWN_MS = 1_000


class Live:
    """``/livez``: this process answers. It checks nothing else."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200."""
        resp.media = {"status": "alive"}


class Health:
    """Answers whether all of some checks hold.

    Whoever asks, and however often, the ledger is asked once within KNOWN_MS. ``clock``: monotonic
    ms. ``words``: what is said when they hold, and when not. ``details``: checks for operators,
    which do not decide.
    """

    def __init__(
        self,
        runtime: Runtime,
        operators: Operators,
        checks: Checks,
        details: Checks,
        words: tuple[str, str],
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._runtime = runtime
        self._operators = operators
        self._asked, self._details, self._words = checks, details, words
        context = health.context_of(runtime.store, runtime.settings, runtime.role)
        accounts = tuple(config.account_id for config in runtime.accounts)
        self._context = replace(context, account_ids=accounts)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, object]] = {}
        self._known_ms = clock() - KNOWN_MS

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 if every check holds, else 503; an operator is told which, in plain words."""
        with self._lock:
            # Whoever had to wait for another's answer takes that.
            if self._clock() - self._known_ms >= KNOWN_MS:
                self._known, self._known_ms = self._checks(self._asked), self._clock()
            checks = self._known
        holds = all(check["ok"] for check in checks.values())
        resp.status = HTTPStatus.OK if holds else HTTPStatus.SERVICE_UNAVAILABLE
        resp.cache_control = ["no-store"]
        resp.media = {"status": self._words[0 if holds else 1]}
        if self._operators.include(req):
            details = self._checks(self._details) if checks["ledger"]["ok"] else {}
            resp.media |= {
                "checks": checks | details,
                "release": self._runtime.settings.release,
                "fingerprint": self._runtime.fingerprint,
            }

    def _checks(self, asked: Checks) -> dict[str, dict[str, object]]:
        fleet = self._runtime.fleet
        context = replace(self._context, ledger_id=fleet.ledger_id, me=fleet.me)
        checks: dict[str, dict[str, object]] = {}
        for name, ask in asked.items():
            if "ledger" in checks and not checks["ledger"]["ok"]:
                # Each further check would wait for the same Redis again.
                checks[name] = _check("unknown: the ledger does not answer")
            else:
                checks[name] = _checked(ask, context)
        return checks


def readiness(runtime: Runtime, operators: Operators) -> Health:
    """Return ``/readyz``: what this process takes now is kept, where somebody looks for it."""
    return Health(runtime, operators, READY, READY_DETAILS, ("ready", "not ready"))


def soundness(runtime: Runtime, operators: Operators) -> Health:
    """Return ``/healthz``: a message accepted now would be collected and answered."""
    return Health(runtime, operators, WORKS, WORKS_DETAILS, ("works", "does not work"))


class FleetView:
    """``/fleet``: every live process, missing roles, and differences between processes."""

    def __init__(self, runtime: Runtime, operators: Operators) -> None:
        self._client = runtime.store.client
        self._operators = operators

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with members and problems.

        Raise RefusalError, 401, for a stranger, and LedgerUnavailableError.
        """
        self._operators.demand(req)
        found = members(self._client)
        resp.cache_control = ["no-store"]
        resp.media = {
            "members": [member.as_json() for member in found],
            "problems": [*missing(found), *drift(found, 0)],
        }


def _checked(
    ask: Callable[[Context], Sequence[CheckResult]], context: Context
) -> dict[str, object]:
    try:
        found = ask(context)
    except LedgerUnavailableError as error:
        known = meaning(error.code)
        says = f"the ledger cannot be used: {error.code}"
        return _check(f"{says}; {known.says}", advice=known.to_do) if known else _check(says)
    return _check(
        "; ".join(finding.says for finding in found),
        advice=found[0].advice,
        ok=all(finding.level is not Level.MISTAKE for finding in found),
    )


def _check(says: str, *, advice: str = "", ok: bool = False) -> dict[str, object]:
    return {"ok": ok, "says": says, "advice": advice}
