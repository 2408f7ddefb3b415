"""Sends requests as fast as a server answers, over several connections that stay open."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from pathlib import Path

import httpx2

from bench.figures import Scale, percentile
from tests.webhooks import CLOUD, body, change, signed, text_message

REPLAY = Path(__file__).with_name("replay.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What came back. ``failed``: no answer, or a status of 400 and above."""

    per_s: float
    p99_ms: float
    failed: int


def raw_posts(count: int) -> list[bytes]:
    """Return signed POSTs with a message id each, twelve to a customer, as bytes for a socket."""
    return [_raw_post(f"7000{n // 12:08d}", f"wamid.bench.{n}") for n in range(count)]


def _raw_post(customer: str, message_id: str) -> bytes:
    contact = {"profile": {"name": "Customer"}, "wa_id": customer}
    item = text_message(message_id, "Can I book for tomorrow?", customer)
    raw = json.dumps(body(change(item, contacts=[contact]))).encode()
    headers = {"Host": "bench", **signed(raw), "Content-Length": str(len(raw))}
    lines = [f"POST {CLOUD} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def generator() -> str:
    """Return the name of the load generator that this machine has."""
    return "wrk" if shutil.which("wrk") else "own generator, slower than wrk"


def send(web: httpx2.Client, requests: Sequence[bytes], scale: Scale) -> Load:
    """Send ``requests`` in turn, from the first again after the last, for ``load_ms``."""
    port = web.base_url.port or 0
    if wrk := shutil.which("wrk"):
        return _wrk(wrk, port, requests, scale)
    return asyncio.run(_own(port, requests, scale))


def _wrk(wrk: str, port: int, requests: Sequence[bytes], scale: Scale) -> Load:
    with tempfile.NamedTemporaryFile() as file:
        for request in requests:
            file.write(b"%d\n" % len(request) + request)
        file.flush()
        seconds = max(1, scale.load_ms // 1000)
        wrk_args = ["-t1", f"-c{scale.connections}", f"-d{seconds}s", f"-s{REPLAY}"]
        run = subprocess.run(
            [wrk, *wrk_args, f"http://127.0.0.1:{port}", "--", file.name],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 60,
        )
    summary = json.loads(run.stdout.splitlines()[-1])
    per_s = summary["requests"] / summary["spent_us"] * 1e6
    return Load(per_s, summary["p99_us"] / 1000, summary["failed"])


async def _own(port: int, requests: Sequence[bytes], scale: Scale) -> Load:
    spent_s: list[float] = []
    failures: list[Exception | int] = []
    source = cycle(requests)
    started = time.monotonic()

    async def keep_sending() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while time.monotonic() - started < scale.load_ms / 1000:
                sent = time.perf_counter()
                writer.write(next(source))
                status = await _status_of_answer(reader)
                spent_s.append(time.perf_counter() - sent)
                failures.extend([status] if status >= HTTPStatus.BAD_REQUEST else [])
        except (OSError, asyncio.IncompleteReadError) as error:
            failures.append(error)
        finally:
            writer.close()

    await asyncio.gather(*(keep_sending() for _ in range(scale.connections)))
    per_s = len(spent_s) / (time.monotonic() - started)
    return Load(per_s, percentile(spent_s, 99) * 1000, len(failures))


async def _status_of_answer(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = head.partition("content-length:")[2].partition("\r\n")[0]
    await reader.readexactly(int(length))
    return int(head.split(" ", 2)[1])
