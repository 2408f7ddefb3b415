"""An installation that is hurt in one way after the other, and what its four voices say of it.

Its web process is asked all the time by /livez, /readyz and /healthz, and the operator's doctor
again and again; between the faults all is healed.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from batching.errors import AdminError
from cli.check import doctor
from cli.common import Request
from tests.http_server import Reply
from tests.outside import ModelApi, ProviderApi, graph_error, model_error
from tests.processes import Guard
from tests.stack.stack import Stack, running
from tests.valkey_server import ValkeyServer
from tests.waiting import eventually

_PATHS = ("/livez", "/readyz", "/healthz")
#: A voice that is not heard for so long has not answered, s.
_PATIENCE_S = 6.0
_POLL_S = 0.1


class Down(ModelApi):
    """A model that answers as it is told to, whoever asks; ``reply`` None: as usual."""

    reply: Reply | None = None

    def respond(self, request: Any) -> Any:
        return self.reply or super().respond(request)


class Gone(ProviderApi):
    """A provider that answers as it is told to; ``reply`` None: as usual."""

    reply: Reply | None = None

    def respond(self, request: Any) -> Any:
        return self.reply or super().respond(request)


@dataclass
class Scene:
    """An installation with a broker of its own."""

    stack: Stack
    broker: ValkeyServer
    model: Down
    provider: Gone


Fault = Callable[[Scene], Iterator[None]]


def _killed(name: str) -> Fault:
    def fault(scene: Scene) -> Iterator[None]:
        scene.stack.processes[name].kill()
        yield
        scene.stack.processes[name].start()

    return fault


def _frozen(name: str) -> Fault:
    def fault(scene: Scene) -> Iterator[None]:
        group = scene.stack.processes[name].group
        os.killpg(group, signal.SIGSTOP)
        yield
        os.killpg(group, signal.SIGCONT)

    return fault


def _web_child(scene: Scene) -> Iterator[None]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [line.split() for line in listed.stdout.splitlines()]
    master = str(scene.stack.processes["web"].group)
    os.kill(int(next(pid for pid, parent in pairs if parent == master)), signal.SIGKILL)
    yield


def _server(which: str, *, frozen: bool) -> Fault:
    def fault(scene: Scene) -> Iterator[None]:
        server = scene.broker if which == "broker" else scene.stack.valkey
        (server.pause if frozen else server.kill)()
        yield
        (server.resume if frozen else server.start)()

    return fault


def _says(which: str, reply: Reply) -> Fault:
    def fault(scene: Scene) -> Iterator[None]:
        service: Any = getattr(scene, which)
        service.reply = reply
        with _traffic(scene.stack):
            yield
        service.reply = None
        # A batch probes, is answered, and closes what is open.
        for key in scene.stack.ledger.client.scan_iter("*circuit:*"):
            scene.stack.ledger.client.delete(key)

    return fault


#: In words of the table → the fault.
FAULTS: dict[str, Fault] = {
    "worker killed": _killed("worker"),
    "worker frozen": _frozen("worker"),
    "scheduler killed": _killed("scheduler"),
    "scheduler frozen": _frozen("scheduler"),
    "web's child killed": _web_child,
    "web's master killed": _killed("web"),
    "ledger killed": _server("ledger", frozen=False),
    "ledger frozen": _server("ledger", frozen=True),
    "broker killed": _server("broker", frozen=False),
    "broker frozen": _server("broker", frozen=True),
    "model refuses (401)": _says("model", model_error(401, "invalid_api_key")),
    "model fails (503)": _says("model", model_error(503)),
    "provider fails (500)": _says("provider", graph_error(131016, status=500)),
}


@contextmanager
def _traffic(stack: Stack) -> Iterator[None]:
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            customer = stack.customer()
            with contextlib.suppress(httpx2.HTTPError):
                customer.delivers(customer.line("Hi"))
            over.wait(2)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass
class Voice:
    """What one of the four says, with the times of changes, s since ``begin``.

    ``ask`` returns it in few words; ``well``: what it says while nothing is wrong.
    """

    name: str
    ask: Callable[[], str]
    well: str
    said: list[tuple[float, str]] = field(default_factory=list)
    _began_s: float = 0.0

    def begin(self) -> None:
        """Forget what was said before."""
        self._began_s = time.monotonic()
        self.said = [(0.0, self.said[-1][1])] if self.said else []

    def listen(self, over: threading.Event) -> None:
        """Ask until it is over."""
        while not over.wait(_POLL_S):
            words = self.ask()
            if not self.said or self.said[-1][1] != words:
                self.said.append((time.monotonic() - self._began_s, words))

    def at(self, after_s: float) -> str:
        """Return what it said then."""
        return [words for at_s, words in self.said if at_s <= after_s][-1]

    @property
    def now(self) -> str:
        """Return what it says, "" before it was asked."""
        return self.said[-1][1] if self.said else ""

    def known_s(self) -> float | None:
        """Return after how long it said that something is wrong, None if it did not."""
        return next((at_s for at_s, words in self.said if words != self.well), None)


def _http(stack: Stack, path: str) -> str:
    with httpx2.Client(base_url=str(stack.web.base_url), timeout=_PATIENCE_S) as web:
        try:
            reply = web.get(path)
            checks = reply.json().get("checks", {})
        except (httpx2.HTTPError, ValueError):
            return "no answer"
    wrong = [name for name, check in checks.items() if not check["ok"]]
    wrong = ["ledger"] if "ledger" in wrong else wrong
    return f"{reply.status_code} {', '.join(wrong)}".strip()


class _Asked(Request):
    """An operator's question whose answer is kept instead of printed."""

    def show(self, document: Mapping[str, object], _lines: Sequence[str]) -> None:
        raise _SaidError(document)


class _SaidError(Exception):
    """What a verb would print."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.findings: list[dict[str, str]] = document["findings"]


def _doctor(stack: Stack) -> str:
    try:
        doctor(_Asked(Namespace(json=True), stack.environ))
    except _SaidError as said:
        found = [it["about"] for it in said.findings if it["level"] == "mistake"]
        return f"{int(bool(found))} {', '.join(dict.fromkeys(found))}".strip()
    except AdminError as error:
        return f"1 {error.code}"
    return "no answer"


def voices(stack: Stack) -> list[Voice]:
    heard = [Voice(path, lambda path=path: _http(stack, path), "200") for path in _PATHS]  # type: ignore[misc]
    return [*heard, Voice("doctor", lambda: _doctor(stack), "0")]


@contextmanager
def installation(binary: str, guard: Guard) -> Iterator[Scene]:
    """Yield an installation whose voices all say that it is well, but for what is missing here."""
    broker, model, provider = ValkeyServer(binary, guard), Down(), Gone()
    broker.start()
    environ = {"BROKER_URL": broker.url(0), "BATCH_LEASE_MS": "", "BATCH_WAKE_UP_MS": ""}
    try:
        with running(Stack(binary, guard, environ, model=model, provider=provider)) as stack:
            yield Scene(stack, broker, model, provider)
    finally:
        broker.stop()


@contextmanager
def listening(scene: Scene) -> Iterator[list[Voice]]:
    """Have every voice asked all the time; the body begins when each says that all is well."""
    heard, over = voices(scene.stack), threading.Event()
    threads = [threading.Thread(target=it.listen, args=(over,)) for it in heard]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: all(it.now == it.well for it in heard), what="all to be well")
        yield heard
    finally:
        over.set()
        for thread in threads:
            thread.join()


def strike(scene: Scene, name: str, heard: Sequence[Voice], wait: Callable[[], object]) -> None:
    """Hurt, wait, heal, and return when every voice says again that all is well."""
    for voice in heard:
        voice.begin()
    for _ in FAULTS[name](scene):
        wait()
    eventually(lambda: all(it.now == it.well for it in heard), what="all to be well again")
