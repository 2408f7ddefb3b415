"""How gunicorn serves the webhooks. ``gunicorn -b ADDRESS`` overrides the address.

The application is neither imported here nor preloaded: the master would keep it, and give old code
and settings to every worker that it starts later. For the same reason a deploy starts fresh
processes and never sends HUP.
"""

import json
from http import HTTPStatus

from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException
from gunicorn.util import write_nonblock
from gunicorn.workers.ggevent import GeventWorker


class WithoutAccessLog(Logger):
    """Logs the server's life cycle but no requests: that is the proxy's work.

    The query string of Meta's challenge carries a secret. With a logconfig gunicorn would format
    a line for each request even if no handler takes it: a twentieth of a webhook's time.
    """

    def access(self, *_: object) -> None:
        """Log nothing."""


class DiscreetWorker(GeventWorker):
    """Refuses a request that is not HTTP with the application's error body and a constant line.

    gunicorn's own page and line would repeat the request, its address and the secrets in it.
    """

    def handle_error(self, _req: object, client: object, _addr: object, exc: Exception) -> None:
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

# The master's lines look like those of the application, which runtime.logs formats in the workers.
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
