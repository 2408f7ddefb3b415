"""How gunicorn serves the webhooks. ``gunicorn -b ADDRESS`` overrides the address.

Nothing of the application is imported here, and it is not preloaded: the master would keep it,
and hand yesterday's code and settings to every worker that it starts tomorrow. For the same reason
a deploy starts fresh processes and never sends HUP.
"""

import json
from http import HTTPStatus

from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker


class WithoutAccessLog(Logger):
    """Tells of the server's own life only: requests are the proxy's to log.

    A challenge's query string carries a secret. With a logconfig gunicorn would put together a
    line for each request even where nobody takes it, which is a twentieth of a webhook's time.
    """

    def access(self, *_: object) -> None:
        """Tell nothing."""


class QuotingNothing(GeventWorker):
    """Refuses what is no HTTP in the form of the application, with a constant log line.

    gunicorn's own page and line repeat the request, its address and the secrets in it.
    """

    def handle_error(self, _req: object, client: object, _addr: object, exc: Exception) -> None:
        """Answer 400 for what cannot be read, 500 for a failure outside of the application."""
        is_unreadable = isinstance(exc, ParseException)
        status = HTTPStatus.BAD_REQUEST if is_unreadable else HTTPStatus.INTERNAL_SERVER_ERROR
        tell = self.log.warning if is_unreadable else self.log.error
        tell("request.unreadable", extra={"error": type(exc).__name__})
        code, message = status.phrase.lower().replace(" ", "_"), "request: cannot be read as HTTP"
        body = json.dumps({"error": {"code": code, "message": message}})
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        try:
            write_nonblock(client, (head + kind + body).encode())
        except OSError:
            # Who sends no HTTP need not be there for the answer.
            self.log.debug("request.unanswered")


logger_class = WithoutAccessLog
bind = "127.0.0.1:8000"
backlog = 2048
workers = 2
# Greenlets wait for Redis without the interpreter's lock, and slow clients cost nothing.
worker_class = QuotingNothing
worker_connections = 1000
preload_app = False
# An administration socket in the home directory: nobody here uses it.
control_socket_disable = True

# A worker whose loop stands still for this long is replaced; in seconds, as all that follows.
timeout = 30
# What runs may end; new connections wait in the backlog for the next process.
graceful_timeout = 20
# Bounds idle connections and the time for a request's head. A stopping worker waits for idle
# connections, so that this is what a deploy takes: a proxy in front had best keep none open.
keepalive = 2

# Meta's challenge is the longest address we are asked for.
limit_request_line = 2048
limit_request_fields = 50
limit_request_field_size = 4096

# The master's own lines look like those of the processes; the workers' are made by runtime.
errorlog = "-"
loglevel = "info"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["lines"]},
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(message)s %(name)s",
            "rename_fields": {"levelname": "level", "message": "event", "name": "logger"},
            "timestamp": "ts",
            "static_fields": {"role": "web"},
        }
    },
    "handlers": {
        "lines": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "stream": "ext://sys.stdout",
        }
    },
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}
