"""The demo as a whole: which processes, in which environment and order, and when it is ready."""

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
from dotenv import set_key

from batching.errors import ConfigurationError
from demo.child import ROOT, SCHEDULER, Child, DemoError, web, worker
from demo.screen import Screen
from demo.valkey import EmbeddedValkey
from runtime.settings import (
    ENV_FILE,
    REDIS_SCHEMES,
    Settings,
    database_of,
    load_settings,
    process_environment,
    setting_names,
    url_problem,
)

ACCOUNTS_FILE = ROOT / "demo" / "accounts.toml"
READY_S_MAX = 60.0
_POLL_S = 0.2

WELCOME = """
AI Admin is running.

  Open            http://127.0.0.1:{port}/simulator
  and write       two or three quick messages, as a customer would.
  One answer      comes {idle} s after the last of them.

  Look inside     {manage} doctor
                  and so with balance, fleet, alerts, dead list, trace -

{kept}  Stop with Ctrl-C."""


class Play:
    """Starts the processes, waits until they answer, watches them, stops them.

    ``signals`` that were received: the first asks it to stop, the second to stop at once.
    """

    def __init__(self, screen: Screen, signals: Sequence[int], *, port: int, data: Path) -> None:
        self._screen = screen
        self._signals = signals
        self._port = port
        self._data = data
        self._children: list[Child] = []
        self._written: list[Path] = []

    def run(self) -> None:
        """Return after a signal. Raise DemoError if something did not start, or died."""
        ready = False
        try:
            welcome = self._start()
            deadline = time.monotonic() + READY_S_MAX
            while not self._signals:
                for child in self._children:
                    child.check()
                if not ready and (ready := self._is_ready(deadline)):
                    self._screen.say(welcome)
                time.sleep(_POLL_S)
        finally:
            # Processes that are being stopped miss each other.
            self._screen.hush()
            if ready:
                self._screen.say("\nStopping ...")
            # First what takes messages, last what keeps them.
            for child in reversed(self._children):
                child.stop(lambda: len(self._signals) > 1)
            for path in self._written:
                path.unlink(missing_ok=True)

    def _start(self) -> str:
        """Start everything; return what to say once it is ready."""
        self._screen.say("Starting AI Admin ...")
        given = process_environment()
        embedded_url, kept = None, "REDIS_URL is used as it is."
        if not given.get("REDIS_URL"):
            valkey = EmbeddedValkey(self._data, environ=given, listen=self._screen.log)
            self._children.append(valkey.child)
            valkey.wait()
            embedded_url, kept = valkey.url, f"Conversations are kept in {self._data}."
        environ = demo_environment(given, embedded_url, port=self._port)
        environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._data / "figures")
        settings = _checked(environ)
        env_file = self._data / ENV_FILE
        write_settings(env_file, environ)
        self._written.append(env_file)
        commands = {
            "worker": (*worker(), "--worker-shutdown-timeout", "5000"),
            "scheduler": SCHEDULER,
            "web": (*web(self._port), "--graceful-timeout", "2"),
        }
        for name, arguments in commands.items():
            command = (sys.executable, "-m", *arguments)
            self._children.append(Child(name, command, environ=environ, listen=self._screen.log))
        typed = [_near(Path(sys.executable)), "manage.py", "--env-file", _near(env_file)]
        manage = shlex.join(typed)
        idle = f"{settings.batch_idle_ms / 1000:g}"
        return WELCOME.format(port=self._port, idle=idle, manage=manage, kept=kept)

    def _is_ready(self, deadline: float) -> bool:
        """Return whether /readyz says so. Raise DemoError after the deadline."""
        says = "nothing yet"
        with contextlib.suppress(httpx2.TransportError):
            url = f"http://127.0.0.1:{self._port}/readyz"
            answer = httpx2.get(url, timeout=3, trust_env=False)
            if answer.is_success:
                return True
            says = f"{answer.status_code} {answer.text}"
        if time.monotonic() > deadline:
            raise DemoError(f"Not ready within {READY_S_MAX:.0f} s; /readyz says: {says}")
        return False


def write_settings(path: Path, environ: Mapping[str, str]) -> None:
    """Write the settings for manage.py, as a file that our user alone can read."""
    given = {name: environ[name] for name in setting_names() if environ.get(name)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    for name, value in given.items():
        set_key(path, name, value)


def _near(path: Path) -> str:
    """Return a path as somebody in the present directory may type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _checked(environ: Mapping[str, str]) -> Settings:
    try:
        return load_settings(environ)
    except ConfigurationError as error:
        raise DemoError(
            f"The environment has settings that cannot be used:\n{error.detail}"
        ) from None


def demo_environment(
    given: Mapping[str, str], embedded_url: Callable[[int], str] | None, *, port: int
) -> dict[str, str]:
    """Return the environment of every process; the web listens at ``port``.

    ``embedded_url`` gives the address of a database of the demo's own server; None where ``given``
    names one by REDIS_URL. Whatever else is set, like BATCH_IDLE_MS, stays as it is.
    """
    ledger = embedded_url(0) if embedded_url else given["REDIS_URL"]
    return dict(given) | {
        "REDIS_URL": ledger,
        "BROKER_URL": given.get("BROKER_URL") or next_database(ledger),
        "ACCOUNTS_FILE": str(ACCOUNTS_FILE),
        # The simulator is not served in production, whatever the caller's shell is set up for.
        "ENVIRONMENT": "demo",
        "CANARY_URL": f"http://127.0.0.1:{port}",
        "PYTHONUNBUFFERED": "1",
    }


def next_database(url: str) -> str:
    """Return the address of the database after the one at ``url``, on the same server."""
    if url_problem(url, REDIS_SCHEMES):
        return url  # The check of the settings says what is wrong with it.
    following = database_of(url)[1] + 1
    parts = urlsplit(url)
    if parts.scheme == "unix" or "db=" in parts.query:
        return f"{url.partition('?')[0]}?db={following}"
    return urlunsplit(parts._replace(path=f"/{following}"))
