"""A TCP proxy before the ledger's server that loses, delays and cuts, as networks do."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
#: A cut connection ends with a reset, at once, not with a polite end.
_NO_LINGER = struct.pack("ii", 1, 0)


class Proxy:
    """Carries connections to ``target``, a port of the loopback, in a thread of its own.

    ``delay_ms``: how much later than given an answer arrives. ``swallows``: answers are taken and
    not passed on; their connection never passes on any again, for it would be out of step.
    ``refuses``: connections are reset as soon as they are made.
    """

    def __init__(self, target: int) -> None:
        self.delay_ms = 0
        self.swallows = False
        self.refuses = False
        self._target = target
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection there is, and return when it is done."""
        self._run(self._cut())

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _cut(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                _reset(writer)

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            port = 0 if self.refuses else self._target
            back, forth = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            _reset(writer)
            return
        pair = (writer, forth)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._carry(reader, forth), self._carry(back, writer, back=True))
        finally:
            self._pairs.discard(pair)

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, back: bool = False
    ) -> None:
        swallowing = False
        with contextlib.suppress(OSError):
            while chunk := await source.read(65_536):
                if back:
                    swallowing = swallowing or self.swallows
                    if self.delay_ms:
                        await asyncio.sleep(self.delay_ms / 1000)
                if not swallowing:
                    sink.write(chunk)
                    await sink.drain()
        sink.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    line: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
