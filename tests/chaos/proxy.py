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
    """Carries connections to ``port`` of the loopback; ``Proxies`` runs it.

    ``delay_ms``: how much later than given an answer arrives. ``swallows``: answers are taken and
    not passed on; their connection never passes on any again, for it would be out of step.
    ``refuses``: connections are reset as soon as they are made.
    """

    def __init__(self, port: int) -> None:
        self.delay_ms = 0
        self.swallows = False
        self.refuses = False
        self.port = 0
        self._target = port
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def cut(self) -> None:
        """Reset every connection there is."""
        for pair in list(self._pairs):
            for writer in pair:
                _reset(writer)

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
                    await asyncio.sleep(self.delay_ms / 1000)
                if not swallowing:
                    sink.write(chunk)
                    await sink.drain()
        sink.close()


class Proxies:
    """Runs proxies to one port in a thread of their own."""

    def __init__(self, port: int, count: int) -> None:
        self.all = [Proxy(port) for _ in range(count)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self._servers = [self._run(proxy.serve()) for proxy in self.all]

    def cut(self, proxy: Proxy) -> None:
        """Reset every connection of a proxy, and return when it is done."""
        self._run(proxy.cut())

    def close(self) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server, proxy in zip(self._servers, self.all, strict=True):
            server.close()
            await proxy.cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _reset(writer: asyncio.StreamWriter) -> None:
    line: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()
