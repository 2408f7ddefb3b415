"""What the operator and the load balancer ask: is it alive, is it ready, who is running."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus

import falcon

from batching.errors import LedgerUnavailableError
from runtime import diagnosis
from runtime.build import Runtime
from runtime.diagnosis import Subject
from runtime.durability import Finding, Level
from runtime.members import drift, missing

#: What must hold for a message taken now to be answered; the first is whether others can be asked.
QUESTIONS: dict[str, Callable[[Subject], list[Finding]]] = {
    "ledger": diagnosis.writable,
    "identity": diagnosis.same_ledger,
    "flusher": diagnosis.flusher,
    "fleet": diagnosis.agreement,
}


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to one question. ``says``: plain words; ``advice``: what to do, "" if nothing."""

    ok: bool
    says: str
    advice: str = ""


class Live:
    """``/livez``: this process answers. It asks nobody else."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200."""
        resp.media = {"status": "alive"}


class Ready:
    """``/readyz``: a message taken now would be kept, collected and answered."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._subject = diagnosis.subject_of(runtime.store, runtime.settings, runtime.role)

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 if every check holds, else 503; the body says which, in plain words."""
        checks = self._checks()
        ready = all(check.ok for check in checks.values())
        resp.status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        resp.cache_control = ["no-store"]
        resp.media = {
            "status": "ready" if ready else "not ready",
            "checks": {name: asdict(check) for name, check in checks.items()},
            "release": self._runtime.settings.release,
            "fingerprint": self._runtime.fingerprint,
        }

    def _checks(self) -> dict[str, Check]:
        subject = replace(self._subject, ledger_id=self._runtime.fleet.ledger_id)
        checks: dict[str, Check] = {}
        for name, ask in QUESTIONS.items():
            if checks and not checks["ledger"].ok:
                # Each further question would only wait for the same Redis again.
                checks[name] = Check(ok=False, says="unknown: the ledger does not answer")
            else:
                checks[name] = _checked(ask, subject)
        return checks


class FleetView:
    """``/fleet``: every live process, who is missing, and what they disagree about."""

    def __init__(self, runtime: Runtime) -> None:
        self._fleet = runtime.fleet

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with members and problems. Raise LedgerUnavailableError."""
        members = self._fleet.members()
        resp.cache_control = ["no-store"]
        resp.media = {
            "members": [member.as_json() for member in members],
            "problems": [*missing(members), *drift(members, 0)],
        }


def _checked(ask: Callable[[Subject], Sequence[Finding]], subject: Subject) -> Check:
    try:
        found = ask(subject)
    except LedgerUnavailableError as error:
        return Check(ok=False, says=f"the ledger cannot be used: {error.code}")
    return Check(
        ok=all(finding.level is not Level.MISTAKE for finding in found),
        says="; ".join(finding.says for finding in found),
        advice=found[0].advice,
    )
