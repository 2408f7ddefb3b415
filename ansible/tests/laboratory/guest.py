"""One guest: a Debian host of its own, with systemd as PID 1, that can be hurt like a real one."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from laboratory import cgroups, network
from laboratory.debian import System, key
from laboratory.places import NETWORK_6, LaboratoryError, Names
from laboratory.shell import attempt, run, wait_until

#: Moves itself into the groups that it is given, then boots, and boots again whenever the guest
#: asks for it: 133 is what systemd-nspawn ends with then.
_BOOT = """
while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift
cd /
status=133
while [ $status = 133 ]; do status=0; "$@" || status=$?; done
"""
#: The guest's systemd gets the unified groups, and may set what belongs to its own network.
_ENVIRON = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}
#: A guest's key is as new as the guest: nobody knows it beforehand.
SSH_OPTIONS = (
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
    "LogLevel=ERROR",
    "ConnectTimeout=5",
    "BatchMode=yes",
)
#: As the inventories have it.
OPERATOR = "admin"
_PATIENCE_S = 40.0


class Guest:
    """The guest ``host`` of a laboratory, reached at ``address``."""

    def __init__(self, names: Names, host: str, address: str) -> None:
        self.host = host
        self.address = address
        self.address_6 = f"{NETWORK_6}:{address.rpartition('.')[2]}"
        self._names = names
        self._name = names.guest(host)
        self._directory = names.guest_directory(host)
        self.root = self._directory / "root"
        self._make_disk: Callable[[], None] = lambda: None

    def make(self, system: System, rootfs: Path, hosts: Sequence[tuple[str, str]]) -> None:
        """Give the guest its disk and its network. ``hosts``: names and addresses it knows."""
        self._make_disk = partial(self._new_disk, system, rootfs, hosts)
        self._make_disk()
        network.plug_in(self._names, self.host, self.address, self.address_6)

    def lose_disk(self) -> None:
        """Give the guest, which is off, the disk of a bare host."""
        self._wait_until(lambda: attempt(["umount", self.root]), "let go of its disk")
        for part in ("upper", "work"):
            shutil.rmtree(self._directory / part)
        self._make_disk()

    def _new_disk(self, system: System, rootfs: Path, hosts: Sequence[tuple[str, str]]) -> None:
        for part in ("upper", "work", "root"):
            (self._directory / part).mkdir(parents=True, exist_ok=True)
        layers = f"lowerdir={rootfs},upperdir={self._directory / 'upper'}"
        options = f"{layers},workdir={self._directory / 'work'}"
        run(["mount", "-t", "overlay", "overlay", "-o", options, self.root])
        etc = self.root / "etc"
        (etc / "hostname").write_text(f"{self.host}\n")
        lines = ["127.0.0.1 localhost", *(f"{address} {host}" for host, address in hosts)]
        (etc / "hosts").write_text("\n".join(lines) + "\n")
        # Empty, so that the first boot makes one: two hosts must not share it.
        (etc / "machine-id").write_text("")
        (etc / "apt/sources.list").write_text(system.source)
        self._let_in()

    def _let_in(self) -> None:
        """Have an operator's user, who may become root; by its key root can be reached as well."""
        run(["chroot", self.root, "useradd", "--create-home", "--shell=/bin/bash", OPERATOR])
        (self.root / "etc/sudoers.d/operator").write_text(f"{OPERATOR} ALL=(ALL) NOPASSWD: ALL\n")
        ours = f"/home/{OPERATOR}/.ssh"
        run(["cp", "-r", self.root / "root/.ssh", f"{self.root}{ours}"])
        run(["chroot", self.root, "chown", "-R", f"{OPERATOR}:", ours])

    def start(self) -> None:
        """Switch the guest on and return when it can be reached."""
        groups = cgroups.make(self._name)
        command = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--boot"]
        command += ["--register=no", "--keep-unit", "--console=pipe", f"--machine={self._name}"]
        command += [f"--hostname={self.host}", "--capability=CAP_NET_ADMIN,CAP_NET_RAW,CAP_BPF"]
        # Then systemd can enforce IPAddressDeny= in the guest.
        command += ["--system-call-filter=bpf"]
        command += [f"--network-namespace-path=/run/netns/{self._name}"]
        with (self._directory / "console.log").open("ab") as log:
            subprocess.Popen(
                ["bash", "-c", _BOOT, "boot", *map(str, groups), "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **_ENVIRON},
                start_new_session=True,
            )
        self.wait_until_up()

    def stop(self) -> None:
        """Shut the guest down as a person would."""
        attempt(self.ssh_command("systemctl poweroff"))
        self._wait_until(lambda: not cgroups.is_populated(self._name), "shut down")

    def cut_power(self) -> None:
        """End everything in the guest at once. What the kernel has of its files survives."""
        cgroups.kill(self._name)

    def freeze(self) -> None:
        """Stop every process of the guest; its kernel goes on taking connections."""
        cgroups.set_frozen(self._name, frozen=True)

    def thaw(self) -> None:
        """Let a frozen guest go on."""
        cgroups.set_frozen(self._name, frozen=False)

    def ssh_command(self, *words: str) -> list[str]:
        """Return the command that runs ``words`` in the guest, seen from anywhere."""
        given = [part for option in SSH_OPTIONS for part in ("-o", option)]
        reach = [*network.inside(self._names), "ssh", "-i", str(key()), *given]
        return [*reach, f"root@{self.address}", *words]

    def ssh(self, *words: str, timeout_s: float = 120.0) -> str:
        """Return what a command prints in the guest. Raise LaboratoryError if it fails."""
        return run(self.ssh_command(*words), timeout_s=timeout_s)

    def keep_journal(self, path: Path) -> None:
        """Write all that the guest has logged to ``path``, if it can still be asked."""
        with suppress(LaboratoryError):
            path.write_text(self.ssh("journalctl --no-pager --output=short-iso-precise"))

    def wait_until_up(self) -> None:
        """Return when the guest has booted and can be reached."""
        what = f"come up; see {self._directory / 'console.log'}"
        self._wait_until(lambda: attempt(self.ssh_command("true"), timeout_s=5), what)

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        wait_until(condition, f"guest {self.host} does not {what}", patience_s=_PATIENCE_S)
