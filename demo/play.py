"""The demo as a whole: which processes, in which order, and when it is ready."""

import http.client
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from batching.errors import ConfigurationError
from demo.child import SCHEDULER, Child, DemoError, web, worker
from demo.environment import demo_environment
from demo.screen import Screen
from demo.valkey import EmbeddedValkey
from runtime.settings import Settings, load_settings, process_environment

READY_S_MAX = 60.0
_POLL_S = 0.2

WELCOME = """
AI Admin is running.

  Open            http://127.0.0.1:{port}/simulator
  and write       two or three quick messages, as a customer would.
  One answer      comes {idle} s after the last of them.

{kept}  Stop with Ctrl-C."""


class Play:
    """Starts the processes, waits until they answer, watches them, stops them."""

    def __init__(self, screen: Screen, *, port: int, data: Path) -> None:
        self._screen = screen
        self._port = port
        self._data = data
        self._children: list[Child] = []
        self._announced = False

    def start(self, stopped: Callable[[], bool]) -> None:
        """Start everything and say what to open. Raise DemoError; ``stop`` is due in any case."""
        self._screen.say("Starting AI Admin ...")
        given = process_environment()
        own = not given.get("REDIS_URL")
        environ = self._embed(given) if own else demo_environment(given, None, port=self._port)
        settings = _checked(environ)
        for name, command in self._commands().items():
            child = Child(name, command, environ=environ, listen=self._screen.log)
            # Stopped in reverse: first what takes messages, last what keeps them.
            self._children.append(child)
        if self._wait(stopped):
            self._welcome(settings, own=own)

    def watch(self, stopped: Callable[[], bool]) -> None:
        """Return when ``stopped``. Raise DemoError if a process dies."""
        while not stopped():
            self._check()
            time.sleep(_POLL_S)

    def stop(self, hurried: Callable[[], bool]) -> None:
        """Stop the web, the scheduler, the worker and the server, in this order."""
        self._screen.hush()
        if self._announced:
            self._screen.say("\nStopping ...")
        for child in reversed(self._children):
            child.stop(hurried)

    def _embed(self, given: Mapping[str, str]) -> dict[str, str]:
        valkey = EmbeddedValkey(self._data, environ=given, listen=self._screen.log_verbose)
        self._children.append(valkey.child)
        valkey.wait()
        return demo_environment(given, valkey.url, port=self._port)

    def _commands(self) -> dict[str, list[str]]:
        python = [sys.executable, "-m"]
        return {
            "worker": [*python, *worker(), "--worker-shutdown-timeout", "5000"],
            "scheduler": [*python, *SCHEDULER],
            "web": [*python, *web(self._port), "--graceful-timeout", "2"],
        }

    def _wait(self, stopped: Callable[[], bool]) -> bool:
        """Return True once everything is ready, False if told to stop before."""
        deadline = time.monotonic() + READY_S_MAX
        while not stopped():
            self._check()
            answer = _ask(self._port)
            if answer.startswith("200"):
                return True
            if time.monotonic() > deadline:
                raise DemoError(f"Not ready within {READY_S_MAX:.0f} s; /readyz says: {answer}")
            time.sleep(_POLL_S)
        return False

    def _check(self) -> None:
        for child in self._children:
            child.check()

    def _welcome(self, settings: Settings, *, own: bool) -> None:
        kept = f"Conversations are kept in {self._data}." if own else "REDIS_URL is used as it is."
        idle = f"{settings.batch_idle_ms / 1000:g}"
        self._screen.say(WELCOME.format(port=self._port, idle=idle, kept=kept))
        self._announced = True


def _checked(environ: dict[str, str]) -> Settings:
    try:
        return load_settings(environ)
    except ConfigurationError as error:
        raise DemoError(
            f"The environment has settings that cannot be used:\n{error.detail}"
        ) from None


def _ask(port: int) -> str:
    """Return the status and body of /readyz, or why there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        return f"{response.status} {response.read(4096).decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return f"nothing yet ({type(error).__name__})"
    finally:
        connection.close()
