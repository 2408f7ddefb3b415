"""A RabbitMQ of our own for a test: own directory, own ports, own name service, loopback only."""

import os
import shutil
import socket
from pathlib import Path

from tests.processes import Guard, OwnedProcess
from tests.valkey_server import free_port
from tests.waiting import eventually

#: Debian's wrapper on PATH insists on the system's user; the script behind it does not.
_BEHIND_THE_WRAPPER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def find_rabbitmq() -> str | None:
    """Return the path of the server's script, None where the machine has none."""
    if shutil.which("epmd") is None:
        return None
    if _BEHIND_THE_WRAPPER.exists():
        return str(_BEHIND_THE_WRAPPER)
    return shutil.which("rabbitmq-server")


class RabbitMQServer:
    """One node with the user that RabbitMQ ships for the loopback."""

    def __init__(self, script: str, guard: Guard) -> None:
        self.directory = guard.new_directory("rabbitmq")
        self.port = free_port()
        name_service_port = str(free_port())
        environ = self._environ(name_service_port)
        # Erlang would start one as a daemon, out of our process group, and leave it behind.
        name_service = ["epmd", "-port", name_service_port, "-address", "127.0.0.1"]
        self._processes = [
            OwnedProcess(
                command,
                log_path=self.directory / f"{name}.log",
                guard=guard,
                environ=environ,
                cwd=self.directory,
            )
            for name, command in (("epmd", name_service), ("server", [script]))
        ]

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the node and return once it takes connections."""
        for process in self._processes:
            process.start()
        eventually(self._greets, what=f"RabbitMQ on port {self.port}", every_s=0.1)

    def kill(self) -> None:
        """End the node as a power cut would; ``start`` brings it back. Safe to run twice."""
        for process in reversed(self._processes):
            process.kill()

    def stop(self) -> None:
        """End the node and remove its directory. Safe to run twice."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        return "\n".join(process.log() for process in self._processes)

    def _greets(self) -> bool:
        """Return whether it answers a protocol header; its port is open long before."""
        assert all(process.running for process in self._processes), self.log()
        with socket.socket() as probe:
            probe.settimeout(1)
            try:
                probe.connect(("127.0.0.1", self.port))
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(probe.recv(1))
            except OSError:
                return False

    def _environ(self, name_service_port: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": name_service_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"aa-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
