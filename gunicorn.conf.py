"""How gunicorn serves the webhooks. ``gunicorn -b ADDRESS`` overrides the address.

The application is neither imported here nor preloaded: the master would keep it, and give old code
and settings to every worker that it starts later. For the same reason a deploy starts fresh
processes and never sends HUP.
"""

import contextlib
import json
import logging
import os
import shutil
import socket
import tempfile
import time
import traceback
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.http.errors import LimitRequestHeaders, ParseException
from gunicorn.http.message import Request
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker

#: prometheus_client's own name.
FIGURES_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
OUR_FIGURES = "ai-admin-figures-"
#: gunicorn's sentences as its code has them → our event, and the names of their values, "" for one
#: to leave out. A sentence with a number in it can be neither searched for nor counted.
SAYINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Starting gunicorn %s": ("master.started", ("version",)),
    "Listening at: %s (%s)": ("master.listening", ("address", "")),
    "Using worker: %s": ("master.workers_chosen", ("class",)),
    "Handling signal: %s": ("master.signalled", ("signal",)),
    "Shutting down: %s": ("master.stopped", ("",)),
    "Reason: %s": ("master.halted", ("problem",)),
    "Unhandled exception in main loop": ("master.crashed", ()),
    "Booting worker with pid: %s": ("worker.starting", ("worker_pid",)),
    "Worker exiting (pid: %s)": ("worker.stopped", ("worker_pid",)),
    "Worker graceful timeout (pid:%s)": ("worker.hurried", ("worker_pid",)),
    "Parent changed, shutting down: %s": ("worker.left_alone", ("",)),
    "Exception in worker process": ("worker.crashed", ()),
    "WORKER TIMEOUT (pid:%s)": ("worker.timed_out", ("worker_pid",)),
    "Worker (pid:%s) exited with code %s.": ("worker.died", ("worker_pid", "exit_code")),
    "Worker (pid:%s) was sent %s!": ("worker.killed", ("worker_pid", "signal")),
    "Worker (pid:%s) was sent %s! Perhaps out of memory?": (
        "worker.killed",
        ("worker_pid", "signal"),
    ),
}


#: What a worker says whose master was killed: only it can report that.
ALONE = frozenset({"worker.left_alone"})
#: What the master says when a worker ends that was not told to.
DEATHS = frozenset({"worker.died", "worker.killed", "worker.timed_out"})


def translate(record: logging.LogRecord) -> bool:
    """Turn a sentence of gunicorn into an event; True, for a filter. Safe to run twice."""
    event, names = SAYINGS.get(str(record.msg), ("", ()))
    values = record.args if isinstance(record.args, tuple) else ()
    if event:
        # Some are repeated each second, with a level above ERROR for no more than that.
        record.levelno = min(record.levelno, logging.ERROR)
        if event in ALONE:
            record.levelno = logging.ERROR
        record.msg, record.args, record.levelname = event, (), logging.getLevelName(record.levelno)
        vars(record).update((name, it) for name, it in zip(names, values, strict=False) if name)
    return True


class Line(logging.Formatter):
    """Formats the master's lines as runtime.logs does those of the workers.

    It is not used itself: what the master imports it hands on to every worker that it ever starts.
    """

    _standard = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime"})

    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object. Of an exception its class and its path, not its words."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "ts": at.replace("+00:00", "Z"),
            "level": record.levelname,
            "event": record.getMessage(),
            "logger": record.name,
            "role": "web",
            "host": os.uname().nodename,
            "pid": os.getpid(),
            "release": os.environ.get("RELEASE") or "unknown",
        }
        line |= {name: it for name, it in vars(record).items() if name not in self._standard}
        if record.exc_info and record.exc_info[1]:
            kind, _, tb = record.exc_info
            line["exception"] = f"{kind.__module__}.{kind.__qualname__}"
            line["trace"] = [
                f"{frame.f_code.co_filename}:{number} {frame.f_code.co_name}"
                for frame, number in traceback.walk_tb(tb)
            ]
        return json.dumps(line, default=str)


class WithoutAccessLog(Logger):
    """Logs the server's life cycle, as events, but no requests: that is the proxy's work.

    The query string of Meta's challenge carries a secret. With a logconfig gunicorn would format
    a line for each request even if no handler takes it: a twentieth of a webhook's time.
    """

    def __init__(self, cfg: object) -> None:
        super().__init__(cfg)
        # Of the logger, not of a handler: the workers' own handlers and Sentry see events too.
        self.error_log.addFilter(translate)
        self.error_log.addFilter(self._note)
        #: Workers that ended of themselves, by their process id, and why: an event and its fields.
        self.deaths: dict[object, tuple[str, dict[str, object]]] = {}

    def access(self, *_: object) -> None:
        """Log nothing."""

    def _note(self, record: logging.LogRecord) -> bool:
        """Remember what ended a worker; True, for a filter."""
        if record.msg in DEATHS and record.levelno >= logging.ERROR:
            found = vars(record)
            fields = {name: found[name] for name in ("exit_code", "signal") if name in found}
            # One that hangs is killed, and that it hung is why.
            self.deaths.setdefault(found["worker_pid"], (str(record.msg), fields))
        return True


#: A worker keeps so many connections; beyond, those that wait for their client go, oldest first.
CONNECTIONS_KEPT_MAX = 800
#: Most that is taken from a socket at a time: gunicorn would hold 1 MB more of each body.
TAKEN_BYTES_MAX = 64 * 1024
#: Largest head of a request. Meta's has 1 KB, a proxy's at most 16.
HEAD_BYTES_MAX = 32 * 1024

#: How much of a body that nobody reads is still taken and dropped after the answer, and for how
#: long: closed before, the connection would be reset, which a proxy takes for a failing host.
DROPPED_BYTES_MAX = 6 * 1024 * 1024
DROPPED_S_MAX = 2
#: What is dropped of all connections is written here.
_DROPPED = bytearray(TAKEN_BYTES_MAX)


class Connection:
    """A client's socket whose worker can give it up while it waits for the client.

    The application finds it in the environment as ``gunicorn.socket``. One that was given up reads
    as ended, and can still be answered.
    """

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self.waits, self.given_up = True, False
        self._sends = False
        self._head_bytes = 0
        self._is_head, self._is_awaited = True, False

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    def begin(self, *, is_awaited: bool) -> None:
        """Expect a body from here on. ``is_awaited``: its sender waits for a word of ours."""
        self._is_head, self._is_awaited = False, is_awaited

    def end(self) -> None:
        """Expect the next request."""
        self._is_head, self._is_awaited, self._head_bytes = True, False, 0

    def recv(self, size: int) -> bytes:
        """Return what came, b"" at the end. Raise LimitRequestHeaders for too large a head."""
        if self.given_up:
            return b""
        if self._is_awaited:
            # Now that somebody reads it, and not before: a body that is refused is not sent.
            self._is_awaited = False
            self._client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.waits = True
        data = self._client.recv(min(size, TAKEN_BYTES_MAX))
        self.waits = False
        if self._is_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                raise LimitRequestHeaders("limit request headers")
        return b"" if self.given_up else data

    def sendall(self, data: bytes) -> None:
        """Send ``data``; a client that does not read makes us wait as well."""
        self.waits = self._sends = True
        self._client.sendall(data)
        self.waits = self._sends = False

    def drop(self) -> None:
        """Take what the client still sends and keep nothing of it, until it has its answer."""
        until, left = time.monotonic() + DROPPED_S_MAX, DROPPED_BYTES_MAX
        self.waits = True
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)
            while left > 0:
                self._client.settimeout(max(0.0, until - time.monotonic()))
                left -= self._client.recv_into(_DROPPED) or left

    def give_up(self) -> None:
        """Have whoever waits for the client find its end."""
        self.given_up = True
        # Whoever was being read can still be answered; whoever does not read cannot.
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR if self._sends else socket.SHUT_RD)


def is_unread(req: Request) -> bool:
    """Return whether some of a request's body was not read, or cannot be."""
    reader = req.body.reader
    # The one reader knows what is left, the other is done once it has no parser.
    left = getattr(reader, "length", 0) or getattr(reader, "parser", None)
    return bool(left or req.body.failed)


class Room:
    """The connections of a worker, by the beginning of their present request, oldest first.

    An honest client sends its request at once, and is among the youngest until it is answered.
    """

    def __init__(self) -> None:
        self._connections: dict[Connection, None] = {}
        #: Connections given up since somebody last asked.
        self.given_up = 0

    def enter(self, connection: Connection) -> None:
        """Take a connection, and give up the oldest where there are too many."""
        self._connections[connection] = None
        if len(self._connections) > CONNECTIONS_KEPT_MAX:
            self._give_up(next((it for it in self._connections if it.waits), connection))

    def leave(self, connection: Connection) -> None:
        """Forget a connection. Safe to run twice."""
        self._connections.pop(connection, None)

    def answered(self, connection: Connection) -> None:
        """Let a connection be the youngest."""
        if not connection.given_up:
            self.leave(connection)
            self._connections[connection] = None

    def _give_up(self, connection: Connection) -> None:
        self.leave(connection)
        connection.give_up()
        self.given_up += 1


class DiscreetWorker(GeventWorker):
    """Makes room for new connections, and refuses what is not HTTP in the application's form.

    gunicorn's own page and line would repeat the request, its address and the secrets in it.
    """

    def init_process(self) -> None:
        """Serve, with a room of this process's own."""
        self.room = Room()
        super().init_process()

    def handle(self, listener: object, client: socket.socket, addr: object) -> None:
        """Serve one connection until its end."""
        connection = Connection(client)
        self.room.enter(connection)
        try:
            super().handle(listener, connection, addr)
        finally:
            self.room.leave(connection)

    def handle_request(
        self, listener_name: object, req: Request, sock: Connection, addr: object
    ) -> None:
        """Serve one request of a connection, and end it where the body was not read.

        gunicorn would read that body to its end, a KB at a time, before the next request.
        """
        ends = req.should_close
        req.should_close = lambda: ends() or is_unread(req)
        sock.begin(is_awaited=req._expected_100_continue)  # noqa: SLF001 - it would answer at once
        req._expected_100_continue = False  # noqa: SLF001
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            if is_unread(req):
                sock.drop()
            sock.end()
        self.room.answered(sock)

    def notify(self) -> None:
        """Tell the master each second that we live, and the log what was given up."""
        super().notify()
        if self.room.given_up:
            self.log.warning("connection.given_up", extra={"count": self.room.given_up})
            self.room.given_up = 0

    def handle_error(self, _req: object, client: Connection, _addr: object, exc: Exception) -> None:
        """Answer 400 if the request cannot be parsed, 500 to a failure outside the application."""
        is_unreadable = isinstance(exc, ParseException)
        status = HTTPStatus.BAD_REQUEST if is_unreadable else HTTPStatus.INTERNAL_SERVER_ERROR
        write = self.log.warning if is_unreadable else self.log.error
        write("request.unreadable", extra={"error": type(exc).__name__})
        code, message = status.phrase.lower().replace(" ", "_"), "request: cannot be read as HTTP"
        body = json.dumps({"error": {"code": code, "message": message}})
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            write_nonblock(client, (head + kind + body).encode())
        except OSError:
            # The client may be gone already.
            self.log.debug("request.unanswered")
        else:
            client.drop()


def on_starting(_server: object) -> None:
    """Give the workers a directory for the figures that they share, without those of the dead.

    PROMETHEUS_MULTIPROC_DIR may name it, as systemd's; else it is made here. prometheus_client
    looks for the name when it is imported, which is in the workers, so after this.
    """
    given = os.environ.get(FIGURES_DIRECTORY)
    if given is None:
        os.environ[FIGURES_DIRECTORY] = tempfile.mkdtemp(prefix=OUR_FIGURES)
        return
    Path(given).mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in Path(given).glob("*_*.db"):
        if not Path(f"/proc/{left.stem.rpartition('_')[2]}").exists():
            left.unlink(missing_ok=True)


def on_exit(_server: object) -> None:
    """Remove what the workers shared, where it was made here."""
    directory = Path(os.environ[FIGURES_DIRECTORY])
    if directory.name.startswith(OUR_FIGURES):
        shutil.rmtree(directory, ignore_errors=True)


def pre_fork(server: Arbiter, worker: GeventWorker) -> None:
    """Give a new worker the deaths to report: the master, which imports nothing of ours, cannot."""
    worker.deaths, server.log.deaths = server.log.deaths, {}


def post_worker_init(worker: GeventWorker) -> None:
    """Report the workers in whose place this one is, now that it can."""
    from runtime.sentry import report  # noqa: PLC0415 - in a worker, never in the master

    for pid, (event, fields) in worker.deaths.items():
        report(event, {"worker_pid": pid, **fields}, "error")


logger_class = WithoutAccessLog
bind = "127.0.0.1:8000"
backlog = 2048
workers = 2
# Greenlets wait for Redis without holding the interpreter's lock, and slow clients cost nothing.
worker_class = DiscreetWorker
worker_connections = 1000
preload_app = False
# The administration socket in the home directory is not used.
control_socket_disable = True

# A worker whose event loop hangs for this long is replaced. Seconds, like all below.
timeout = 30
# Requests in progress may end; new connections wait in the backlog for the next process.
graceful_timeout = 20
# Limits idle connections and the time for a request's head. A stopping worker waits for idle
# connections, so a deploy takes this long: a proxy in front should keep none open.
keepalive = 2

# Meta's challenge has the longest address of all requests.
limit_request_line = 2048
limit_request_fields = 50
limit_request_field_size = 4096

# No header names another address, scheme or caller, not even from the loopback, where a proxy is:
# SCRIPT_NAME: /webhooks would make /webhooks/fleet of /fleet.
forwarder_headers = ""
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}

# The master's lines have the form of the application's, which runtime.logs formats in the workers.
errorlog = "-"
loglevel = "info"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["lines"]},
    "formatters": {"json": {"()": Line}},
    "handlers": {
        "lines": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "stream": "ext://sys.stdout",
        }
    },
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}
