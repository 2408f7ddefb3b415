"""The real processes on the loopback: a ledger of our own, web, worker and scheduler around it."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.requests import PHONE_NUMBER_ID, SECRET
from demo.valkey import EmbeddedValkey

ROOT = Path(__file__).parent.parent
START_S_MAX = 30
STOP_S_MAX = 30
ACCOUNT = "bench"
#: As the demo runs it: one process is enough for two processors.
WORKER = ["dramatiq", "actors:main", "-p", "1", "-t", "8"]
SCHEDULER = ["scheduler"]
ACCOUNTS = """
[[account]]
id = "{account}"
channel = "whatsapp_cloud"
phone_number_id = "{phone_number_id}"
access_token_env = "BENCH_ACCESS_TOKEN"
app_secret_env = "BENCH_APP_SECRET"
verify_token_env = "BENCH_VERIFY_TOKEN"
api_url = "{api_url}"
language = "en"
timezone = "UTC"
prompt_file = "{prompt_file}"
[account.model]
provider = "scripted"
"""


def settings(directory: Path, redis_url: str, api_url: str, idle_ms: int) -> dict[str, str]:
    """Return the environment of every process, with an accounts file written to ``directory``."""
    accounts = directory / "accounts.toml"
    accounts.write_text(
        ACCOUNTS.format(
            account=ACCOUNT,
            phone_number_id=PHONE_NUMBER_ID,
            api_url=api_url,
            prompt_file=ROOT / "prompts" / "example.md",
        )
    )
    return {
        "PATH": os.environ["PATH"],
        "REDIS_URL": f"{redis_url}/0",
        "BROKER_URL": f"{redis_url}/1",
        "ACCOUNTS_FILE": str(accounts),
        "PRIVACY_KEY": "privacy-key-of-the-bench",
        "BATCH_IDLE_MS": str(idle_ms),
        "LOG_LEVEL": "INFO",
        "BENCH_ACCESS_TOKEN": "access-token-of-the-bench",
        "BENCH_APP_SECRET": SECRET,
        "BENCH_VERIFY_TOKEN": "verify-token-of-the-bench",
    }


@contextmanager
def ledger_server(directory: Path) -> Iterator[str]:
    """Run a server with an append-only file, as in production; yield its URL, no database."""
    valkey = EmbeddedValkey(directory, environ=os.environ, listen=lambda _name, _line: None)
    try:
        valkey.wait()
        yield valkey.url(0).removesuffix("/0")
    finally:
        valkey.child.stop(lambda: True)


@contextmanager
def running(
    module_and_args: Sequence[str], environ: Mapping[str, str], directory: Path
) -> Iterator[Callable[[], None]]:
    """Run ``python -m ...`` from the root of the checkout until the context ends.

    Yield a check that raises RuntimeError, with its last words, if the process has ended.
    """
    log = directory / f"{module_and_args[0]}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module_and_args],
            cwd=ROOT,
            env=dict(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def check() -> None:
        if process.poll() is not None:
            raise RuntimeError(f"{module_and_args[0]} ended early:\n{log.read_text()[-2000:]}")

    try:
        yield check
        check()
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def web(application: str, environ: Mapping[str, str], directory: Path) -> Iterator[int]:
    """Serve ``application`` as in production, with two workers; yield the port."""
    port = free_port()
    args = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2", application]
    with running(args, environ, directory) as check:

        def ready() -> bool:
            check()
            return _answers(port)

        # The socket is there before the workers are: only an answer shows that they are.
        until(ready)
        yield port


def until(condition: Callable[[], bool], *, seconds_max: float = START_S_MAX) -> None:
    """Return when ``condition`` holds. Raise TimeoutError."""
    give_up = time.monotonic() + seconds_max
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"not so within {seconds_max} s")
        time.sleep(0.02)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="aa-bench-") as name:
        yield Path(name)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=START_S_MAX)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
