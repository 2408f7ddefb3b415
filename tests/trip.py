"""Count the files and functions of ours that one text message passes: ``make trip``.

A reader who follows a message opens these files. What is built at the first use, such as an
account's model, counts too.
"""

import contextlib
import hashlib
import hmac
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import FrameType

from falcon import testing

from actors.tasks import Tasks
from batching.model import WakeUp
from demo.valkey import find_server
from runtime.build import build
from scheduler.tick import Tick
from tests import root_logger
from tests.processes import Guard, started
from tests.valkey_server import ValkeyServer
from web import create_app

ROOT = Path(__file__).parent.parent
_ACCOUNTS = """
[[account]]
id = "salon"
channel = "whatsapp_cloud"
phone_number_id = "100000000000001"
access_token_env = "TOKEN"
app_secret_env = "SECRET"
verify_token_env = "VERIFY"
api_url = "{url}/v24.0"
language = "en"
timezone = "UTC"
prompt_file = "prompt.md"
[account.model]
provider = "openai_compatible"
model = "any"
base_url = "{url}/v1"
"""
_ANSWERS = {
    "/v1/chat/completions": {
        "choices": [{"message": {"content": "We open at ten."}, "finish_reason": "stop"}]
    },
    "/v24.0/100000000000001/messages": {"messages": [{"id": "wamid.answer"}]},
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the way. ``calls``: (file, function) of each call, in order."""

    name: str
    calls: tuple[tuple[str, str], ...]

    @property
    def files(self) -> frozenset[str]:
        """Return the files that were entered, relative to the repository."""
        return frozenset(file for file, _ in self.calls)

    @property
    def changes(self) -> int:
        """Return how often a call was in another file than the call before it."""
        return sum(one != other for (one, _), (other, _) in pairwise(self.calls))

    def __str__(self) -> str:
        functions = len(set(self.calls))
        return (
            f"{self.name:16} {len(self.files):3} files {functions:4} functions "
            f"{len(self.calls):4} calls {self.changes:4} changes of file"
        )


class _Provider(BaseHTTPRequestHandler):
    """Answers as a model and as the Cloud API do when all is well."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(_ANSWERS[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _Queue:
    """Takes wake-ups in place of a broker; the broker's own files are Dramatiq's affair."""

    def __init__(self) -> None:
        self.wake_ups: list[WakeUp] = []

    def enqueue(self, wake_up: WakeUp) -> None:
        self.wake_ups.append(wake_up)

    def enqueue_flush(self) -> bool:
        return True

    def flush_begins(self) -> None:
        """Do nothing."""


def trip() -> list[Stage]:
    """Send one message the whole way and return its stages."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(root_logger.restored())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aa-trip-")))
        guard = Guard()
        stack.callback(guard.close)
        valkey = stack.enter_context(started(ValkeyServer(find_server(), guard)))
        provider = ThreadingHTTPServer(("127.0.0.1", 0), _Provider)
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        stack.callback(provider.server_close)
        stack.callback(provider.shutdown)
        (directory / "prompt.md").write_text("# Salon\n")
        accounts = directory / "accounts.toml"
        accounts.write_text(_ACCOUNTS.format(url=f"http://127.0.0.1:{provider.server_port}"))
        return list(_stages(valkey, accounts))


def _stages(valkey: ValkeyServer, accounts: Path) -> Iterator[Stage]:
    runtime = build(
        "web",
        {
            "REDIS_URL": valkey.url(0),
            "BROKER_URL": valkey.url(1),
            "ACCOUNTS_FILE": str(accounts),
            "BATCH_MAX_MESSAGES": "1",
            "LOG_LEVEL": "ERROR",
            "TOKEN": "token",
            "SECRET": "secret",
            "VERIFY": "verify",
        },
    )
    client, queue = testing.TestClient(create_app(runtime)), _Queue()
    tick = Tick(runtime.store.watch, queue.enqueue_flush, lambda: None)
    tasks = Tasks(runtime.store, runtime.accounts, queue)  # type: ignore[arg-type]

    def post() -> None:
        body = _webhook()
        signature = hmac.new(b"secret", body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        answer = client.simulate_post("/webhooks/whatsapp_cloud", body=body, headers=headers)
        assert answer.status_code == 200, answer.text

    def work(task: Callable[[str, str, int], None]) -> None:
        wake_up = queue.wake_ups.pop()
        task(wake_up.conversation_id, wake_up.batch_id, wake_up.attempt)

    for name, step in (
        ("POST to 200", post),
        ("tick", tick),
        ("flush", tasks.flush),
        ("generate", lambda: work(tasks.generate)),
        ("send", lambda: work(tasks.send)),
    ):
        yield Stage(name, _calls(step))
    answered = runtime.store.client.hget(runtime.store.keyring.shards[0].stats, "answered")
    assert answered == b"1", answered


def _calls(step: Callable[[], None]) -> tuple[tuple[str, str], ...]:
    """Run ``step`` and return the calls of our own functions, in whichever thread."""
    calls: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        if event != "call" or code.co_name.startswith("<") or not path.is_relative_to(ROOT):
            return
        file = path.relative_to(ROOT)
        if file.parts[0] not in {"tests", ".venv"}:
            calls.append((str(file), f"{code.co_name}:{code.co_firstlineno}"))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return tuple(calls)


def _webhook() -> bytes:
    message = {
        "from": "15550001111",
        "id": "wamid.question",
        "timestamp": "1700000000",
        "type": "text",
        "text": {"body": "When do you open?"},
    }
    metadata = {"phone_number_id": "100000000000001"}
    value = {"messaging_product": "whatsapp", "metadata": metadata, "messages": [message]}
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def main() -> None:
    """Print each stage, and the files of the whole way."""
    stages = trip()
    lines = []
    for stage in stages:
        lines.append(str(stage))
        if "-v" in sys.argv:
            lines += [f"    {file}" for file in dict.fromkeys(file for file, _ in stage.calls)]
    lines.append(f"whole way: {len(files_of(stages))} files")
    sys.stdout.write("\n".join(lines) + "\n")


def files_of(stages: Iterable[Stage]) -> frozenset[str]:
    """Return the files of all stages."""
    return frozenset(file for stage in stages for file in stage.files)


if __name__ == "__main__":
    main()
