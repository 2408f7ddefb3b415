"""What signals would have done, measured: why playbooks send none and restart nothing in place."""

import http.client
import threading
import time
from collections import Counter

from laboratory import network
from laboratory.guest import Guest
from laboratory.stage import Stage

#: Where measured web instances listen.
PORT = 8099
HOME = "/run/measured"
_PAUSE_S = 0.002
_SETTLED_S = 4.0

#: An instance like those of the playbooks, but from a link that can be moved.
_SERVICE = """[Service]
Type={type}
NotifyAccess=all
User=ai-admin-{kind}
Group=ai-admin
WorkingDirectory=/run/measured/app
EnvironmentFile=/run/measured/env
Environment=ACCOUNTS_FILE=/opt/ai-admin/deployments/current/accounts.toml
Environment=PYTHONDONTWRITEBYTECODE=1
ExecStart=/run/measured/app/.venv/bin/{command}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
TimeoutStopSec=60
"""
_SOCKET = """[Socket]
ListenStream={address}:{port}
Backlog=2048
"""
_FILES = f"""
mkdir -p {HOME} && cp /opt/ai-admin/deployments/current/env {HOME}/env &&
chgrp ai-admin {HOME}/env && chmod 640 {HOME}/env &&
ln -sfn "$(readlink -f /opt/ai-admin/deployments/current/app)" {HOME}/app &&
systemctl daemon-reload &&
"""
_CHANGE = f"""
sed -i '/^RELEASE=/d' {HOME}/env && echo 'RELEASE="another"' >> {HOME}/env &&
cp -a "$(readlink -f {HOME}/app)" {HOME}/other && ln -sfn {HOME}/other {HOME}/app
"""
_PROCESSES = """
for p in $(cat /sys/fs/cgroup/system.slice/{unit}/cgroup.procs); do
  echo $p $(tr '\\0' '\\n' < /proc/$p/environ | grep ^RELEASE= || echo RELEASE=) \\
    $(readlink /proc/$p/cwd)
done
"""


class Measured:
    """The instance ``measured-<kind>`` on a guest, with a socket of systemd's or without."""

    def __init__(self, guest: Guest, kind: str, *, with_socket: bool = False) -> None:
        self._guest = guest
        self._unit = f"measured-{kind}.service"
        web = f"gunicorn --bind {guest.address}:{PORT} wsgi:application"
        worker = "dramatiq actors:main --processes 1 --threads 8"
        command, kind_of = (web, "notify") if kind == "web" else (worker, "simple")
        service = _SERVICE.format(kind=kind, type=kind_of, command=command)
        self._write(self._unit, service)
        start = self._unit
        if with_socket:
            self._write("measured-web.socket", _SOCKET.format(address=guest.address, port=PORT))
            start = f"measured-web.socket {start}"
        guest.ssh(f"{_FILES}systemctl start {start}")
        time.sleep(_SETTLED_S)

    def do(self, verb: str) -> None:
        """Reload or restart it."""
        self._guest.ssh(f"systemctl {verb} {self._unit}")

    def hup(self) -> str:
        """Change its environment and its release, reload, and return what its processes have."""
        before = self._processes()
        self._guest.ssh(_CHANGE)
        self.do("reload")
        time.sleep(_SETTLED_S)
        after = self._processes()
        new = sorted(set(after) - set(before))
        told = [f"{len(new)} new of {len(after)} processes"]
        told += sorted({f"{after[pid][0]} in {after[pid][1]}" for pid in new or after})
        return ", ".join(told)

    def end(self) -> None:
        """Take it away."""
        self._guest.ssh(
            f"systemctl stop {self._unit} measured-web.socket 2>/dev/null;"
            f"rm -rf /run/systemd/system/measured-* {HOME}; systemctl daemon-reload"
        )

    def _write(self, unit: str, text: str) -> None:
        self._guest.ssh(f"cat > /run/systemd/system/{unit} <<'END'\n{text}END")

    def _processes(self) -> dict[int, tuple[str, str]]:
        """Return RELEASE and the working directory of each process, by its number."""
        told = self._guest.ssh(_PROCESSES.format(unit=self._unit))
        rows = (line.split() for line in told.splitlines())
        return {int(pid): (release, directory) for pid, release, directory in rows}


class Callers:
    """Call a measured web instance all the time, one connection for each call, and count."""

    def __init__(self, address: str, count: int = 4) -> None:
        self.seen: Counter[str] = Counter()
        self._address = address
        self._longest_ms = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> str:
        """Stop calling and return what came of it."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return f"{dict(self.seen)}, the longest took {self._longest_ms} ms"

    def _call(self) -> None:
        while not self._over.wait(_PAUSE_S):
            began_ns = time.monotonic_ns()
            self.seen[self._once()] += 1
            lasted_ms = (time.monotonic_ns() - began_ns) // 1_000_000
            self._longest_ms = max(self._longest_ms, lasted_ms)

    def _once(self) -> str:
        connection = http.client.HTTPConnection(self._address, PORT, timeout=10)
        try:
            connection.request("GET", "/livez")
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()


#: How long callers call before and after what is measured.
_BEFORE_S, _AFTER_S = 2.0, 5.0


def signals(stage: Stage) -> None:
    """Measure HUP and restart of web and worker, beside the service, and tell the figures."""
    network.enter(stage.site.names.controller)
    web, worker = stage.guests("web")[0], stage.guests("workers")[0]
    for with_socket in (False, True):
        for verb in ("restart", "reload"):
            how = f"gunicorn, systemctl {verb}, {'with' if with_socket else 'without'} a socket"
            stage.tell(f"{how}: {_called(web, verb, with_socket=with_socket)}")
    for kind, guest in (("web", web), ("worker", worker)):
        measured = Measured(guest, kind)
        said = measured.hup()
        stage.tell(f"{kind}, HUP after environment file and release link changed: {said}")
        measured.end()


def _called(guest: Guest, verb: str, *, with_socket: bool) -> str:
    measured = Measured(guest, "web", with_socket=with_socket)
    callers = Callers(guest.address)
    time.sleep(_BEFORE_S)
    measured.do(verb)
    time.sleep(_AFTER_S)
    said = callers.stop()
    measured.end()
    return said
