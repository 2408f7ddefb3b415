"""What the operator and the load balancer ask: is it alive, is it ready, who is running."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus

import falcon

from batching.errors import LedgerUnavailableError
from runtime.build import Runtime

#: A flusher collects many times a second; silent for so long it is dead or looks elsewhere.
HEARTBEAT_MS_MAX = 30_000


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold for a message taken now to be answered. ``says``: plain words."""

    ok: bool
    says: str


class Live:
    """``/livez``: this process answers. It asks nobody else."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200."""
        resp.media = {"status": "alive"}


class Ready:
    """``/readyz``: a message taken now would be kept, collected and answered."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

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
        ledger = _checked(self._ledger)
        if not ledger.ok:
            # Each further question would only wait for the same Redis again.
            unknown = Check(ok=False, says="unknown: the ledger does not answer")
            return {"ledger": ledger, "flusher": unknown, "fleet": unknown}
        return {
            "ledger": ledger,
            "flusher": _checked(self._flusher),
            "fleet": _checked(self._fleet),
        }

    def _ledger(self) -> Check:
        self._runtime.store.probe()
        return Check(ok=True, says="writable")

    def _flusher(self) -> Check:
        watch = self._runtime.store.watch()
        if watch.heartbeat_ms is None:
            return Check(ok=False, says="nobody ever collected from this Redis")
        silent_ms = max(0, watch.now_ms - watch.heartbeat_ms)
        return Check(
            ok=silent_ms <= HEARTBEAT_MS_MAX,
            says=f"last collected {silent_ms} ms ago, at most {HEARTBEAT_MS_MAX} ms",
        )

    def _fleet(self) -> Check:
        fleet = self._runtime.fleet
        members = fleet.members()
        problems = fleet.drift(members)
        return Check(
            ok=not problems,
            says="; ".join(problems) or f"{len(members)} processes agree",
        )


class FleetView:
    """``/fleet``: every live process, who is missing, and what they disagree about."""

    def __init__(self, runtime: Runtime) -> None:
        self._fleet = runtime.fleet

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer 200 with members and problems. Raise LedgerUnavailableError."""
        members = self._fleet.members()
        resp.cache_control = ["no-store"]
        resp.media = {
            "members": [asdict(member) for member in members],
            "problems": [*self._fleet.missing(members), *self._fleet.drift(members)],
        }


def _checked(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except LedgerUnavailableError as error:
        return Check(ok=False, says=f"the ledger cannot be used: {error.code}")
