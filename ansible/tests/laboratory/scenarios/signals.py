"""What signals would have done, measured: why playbooks send none and restart nothing in place."""

import time

from laboratory import network
from laboratory.guest import Guest
from laboratory.measured import Callers, Measured
from laboratory.stage import Stage

#: How long callers call before and after what is measured.
_BEFORE_S, _AFTER_S = 2.0, 5.0


def signals(stage: Stage) -> None:
    """Measure HUP and restart of web and worker, beside the service, and tell the figures."""
    network.enter(stage.site.names.controller)
    web, worker = stage.guests("web")[0], stage.guests("workers")[0]
    for with_socket in (False, True):
        for verb in ("restart", "reload"):
            how = f"gunicorn, systemctl {verb}, {'with' if with_socket else 'without'} a socket"
            stage.tell(f"{how}: {_called(web, verb, with_socket=with_socket)}")
    for kind, guest in (("web", web), ("worker", worker)):
        measured = Measured(guest, kind)
        said = measured.hup()
        stage.tell(f"{kind}, HUP after environment file and release link changed: {said}")
        measured.end()


def _called(guest: Guest, verb: str, *, with_socket: bool) -> str:
    measured = Measured(guest, "web", with_socket=with_socket)
    callers = Callers(guest.address)
    time.sleep(_BEFORE_S)
    measured.do(verb)
    time.sleep(_AFTER_S)
    said = callers.stop()
    measured.end()
    return said
