"""The real processes on the loopback: a ledger of our own, web, worker and scheduler around it."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from demo.child import ROOT, web
from demo.valkey import EmbeddedValkey
from tests.processes import Guard, OwnedProcess
from tests.valkey_server import free_port
from tests.waiting import answers, eventually
from tests.webhooks import APP_SECRET, SALON_NUMBER

STOP_S_MAX = 30
ACCOUNT = "bench"
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
            phone_number_id=SALON_NUMBER,
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
        "BENCH_APP_SECRET": APP_SECRET,
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
    arguments: Sequence[str], environ: Mapping[str, str], directory: Path
) -> Iterator[OwnedProcess]:
    """Run ``python -m`` with the arguments, from the root of the checkout, during the body.

    Raise RuntimeError, with its last words, if the process ends before the body does.
    """
    guard, name = Guard(), arguments[0]
    process = OwnedProcess(
        [sys.executable, "-m", *arguments],
        log_path=directory / f"{name}.log",
        guard=guard,
        environ=environ,
        cwd=ROOT,
    )
    try:
        process.start()
        yield process
        check(process)
        process.terminate(deadline_s=STOP_S_MAX)
    finally:
        process.kill()
        guard.close()


@contextmanager
def served(application: str, environ: Mapping[str, str], directory: Path) -> Iterator[int]:
    """Serve ``application`` with two workers, as in production; yield the port."""
    port = free_port()
    with running((*web(port, application), "--workers", "2"), environ, directory) as process:
        # The socket is there before the workers are: only an answer shows that they are.
        eventually(lambda: answers(f"http://127.0.0.1:{port}") or not process.running)
        check(process)
        yield port


def check(process: OwnedProcess) -> None:
    """Raise RuntimeError, with its last words, if the process has ended."""
    if not process.running:
        raise RuntimeError(f"{process.log_path.stem} ended early:\n{process.log()[-2000:]}")


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a directory that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="aa-bench-") as name:
        yield Path(name)
