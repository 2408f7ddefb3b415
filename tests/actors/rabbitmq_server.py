"""A RabbitMQ of our own for a test, from the system's package: never the system's server."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.processes import Guard, OwnedProcess
from tests.valkey_server import free_port

#: Not the one on PATH: that changes the user and talks to the system's service.
BINARY = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_DEADLINE_S = 60.0


class RabbitServer:
    """One node on the loopback with its data in a directory of its own."""

    def __init__(self, guard: Guard) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="aa-rabbit-"))
        self.port, self._epmd_port = free_port(), free_port()
        self._environ = self._environment()
        self._process = OwnedProcess(
            [str(BINARY)],
            log_path=self.directory / "log",
            guard=guard,
            environ=self._environ,
            cwd=self.directory,
        )

    @property
    def url(self) -> str:
        """Return the address, as BROKER_URL wants it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        """Start the node and return once it takes connections."""
        self._process.start()
        deadline = time.monotonic() + START_DEADLINE_S
        while not self._greets():
            if not self._process.running or time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ did not start:\n{self._process.log()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End the node and the port mapper that it started, and remove the directory."""
        self._process.kill()
        mapper = ["epmd", "-port", str(self._epmd_port), "-kill"]
        with contextlib.suppress(OSError):
            subprocess.run(mapper, env=self._environ, capture_output=True, timeout=10, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _environment(self) -> dict[str, str]:
        here = str(self.directory)
        return {
            "PATH": os.environ["PATH"],
            "HOME": here,
            "RABBITMQ_NODENAME": f"aa{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{here}/data",
            "RABBITMQ_LOG_BASE": f"{here}/log.d",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
        }

    def _greets(self) -> bool:
        """Return whether it answers a protocol header; its port is open long before."""
        with socket.socket() as probe:
            probe.settimeout(1)
            try:
                probe.connect(("127.0.0.1", self.port))
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(probe.recv(1))
            except OSError:
                return False
