"""What a host has already that the playbooks would run into, and whose it is. Changes nothing.

``look.py WANTED``: WANTED is what this host is to have, as JSON; prints as JSON what stands in the
way: ``refusals``, sentences that name what was found and what to do; and whose what
it may live beside is. Ours is known by what only the playbooks write. What a package brought and
nobody touched or uses is nobody's: an earlier run may have been cut short behind an installation.
"""

import grp
import hashlib
import json
import pwd
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

#: Package → a file that we write → what only we write into it.
MARKS = {
    "nginx": ("etc/nginx/nginx.conf", "/etc/nginx/ai-admin.pem"),
    "rabbitmq-server": ("etc/rabbitmq/rabbitmq-env.conf", "NODENAME=rabbit@localhost"),
    "prometheus": ("etc/prometheus/prometheus.yml", "job_name: ai-admin"),
}
#: Package → its settings, and what somebody leaves there who uses it.
USED = {
    "redis-server": ("etc/redis/redis.conf", "var/lib/redis/dump.rdb var/lib/redis/appendonly*"),
    "nginx": (
        "etc/nginx/nginx.conf etc/nginx/sites-available/default etc/nginx/conf.d/default.conf",
        "etc/nginx/conf.d/* etc/nginx/sites-enabled/* var/www/html/*",
    ),
    "rabbitmq-server": ("", "var/lib/rabbitmq/mnesia/*"),
    "prometheus": ("etc/prometheus/prometheus.yml etc/default/prometheus", ""),
    "prometheus-redis-exporter": ("etc/default/prometheus-redis-exporter", ""),
}
#: What packages put there themselves, and what is ours.
NOBODYS = {"default", "default.conf", "index.nginx-debian.html", "index.html", "ai-admin.conf"}
#: An installation by hand, as docs/deploy.md has it, is another one.
BY_HAND = {f"ai-admin-{kind}.service" for kind in ("web", "worker", "scheduler")}
#: What the role `app` puts below the root.
OWN_DIRECTORIES = {"bin", "releases", "wheels", "deployments"}
PROGRAM = "a program"
#: What to do instead, by what is wanted.
SNIPPETS = 'docs/deploy.md, "Behind your own nginx or Caddy"'


@dataclass(frozen=True, slots=True)
class Listener:
    """Who takes connections. ``address``: "*" or "0.0.0.0" for any; ``unit``: else the program."""

    address: str
    port: int
    unit: str


@dataclass(frozen=True, slots=True)
class Server:
    """A server that a package brought. ``changed``: settings that somebody touched.

    ``off``: its unit does not start by itself; ``has``: names of what somebody left in it.
    """

    running: bool = False
    off: bool = False
    ours: bool = False
    changed: bool = False
    has: tuple[str, ...] = ()

    @property
    def is_somebodys(self) -> bool:
        """Return whether somebody else uses it."""
        return not self.ours and (self.running or self.changed or bool(self.has))


@dataclass(frozen=True, slots=True)
class Found:
    """All that was found. ``servers``: those that are installed.

    ``nginx``: what ``nginx -T`` prints, ``nginx_fault`` why it does not; ``redis_port``: that of
    Debian's own Redis; ``strange``: sentences about what has a name of ours and is not ours.
    """

    listeners: tuple[Listener, ...] = ()
    servers: Mapping[str, Server] = field(default_factory=dict)
    nginx: str = ""
    nginx_fault: str = ""
    redis_port: int = 6379
    strange: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()


# What stands in the way.


def judge(wanted: Mapping[str, Any], found: Found) -> Iterator[str]:
    """Yield what stands in the way of what this host is to have."""
    yield from found.strange
    yield from _held(wanted, found)
    yield from _ports(wanted, found)
    kind, nginx = wanted.get("proxy", {}).get("kind"), found.servers.get("nginx")
    # One that merely runs shows the page that came with it.
    if kind == "whole" and nginx and not nginx.ours and (nginx.changed or nginx.has):
        sites = ", ".join(sites_of(found.nginx)) or "none that can be read"
        yield (
            f"nginx is somebody else's (sites: {sites}): set proxy_kind: site to have ours beside"
            f" them, or take this host out of the group proxy, and see {SNIPPETS}"
        )
    if kind == "site":
        yield from _site(wanted["proxy"], nginx, found)
    for package, group, instead in (
        (
            "rabbitmq-server",
            "broker",
            "have it give us a vhost and a user, and set deployment_broker_url",
        ),
        ("prometheus", "monitoring", "have it read our figures (docs/deploy.md, Metrics)"),
    ):
        there = found.servers.get(package)
        if package in wanted.get("servers", ()) and there and there.is_somebodys:
            yield (
                f"{package} is somebody else's: take this host out of the group {group},"
                f" and {instead}"
            )
    exporter = found.servers.get("prometheus-redis-exporter")
    if "prometheus-redis-exporter" in wanted.get("servers", ()) and exporter and exporter.running:
        yield (
            "prometheus-redis-exporter.service is somebody else's and would be stopped:"
            " take ledger_exporter_password out"
        )


def _held(wanted: Mapping[str, Any], found: Found) -> Iterator[str]:
    for package in sorted(found.held & set(wanted.get("packages", ()))):
        yield f"{package} is to be installed and is held: apt-mark unhold {package}"


def _ports(wanted: Mapping[str, Any], found: Found) -> Iterator[str]:
    """Yield which ports somebody else has, or will have when it is started again."""
    redis = found.servers.get("redis-server")
    for place in wanted.get("places", ()):
        for address, port in filter(None, map(address_of, place["at"])):
            there = [it for it in found.listeners if it.port == port]
            if any(is_ours(it.unit, wanted, found) for it in there):
                continue
            others = {it.unit for it in there if overlap(it.address, address)}
            if redis and redis.is_somebodys and not redis.off and found.redis_port == port:
                others.add("redis-server.service")
            for unit in sorted(others):
                yield f"{unit} has port {port}, which {place['for']} is to have: {place['do']}"


def address_of(place: object) -> tuple[str, int] | None:
    """Return address and port of PORT or ADDRESS:PORT, None for what is neither."""
    match = re.fullmatch(r"(?:(.*):)?(\d+)", str(place))
    return ((match[1] or "*").strip("[]"), int(match[2])) if match else None


def is_ours(unit: str, wanted: Mapping[str, Any], found: Found) -> bool:
    """Return whether a unit belongs to the playbooks, or is to."""
    if unit == "nginx.service" and wanted.get("proxy"):
        return True  # or it is refused as what it is
    package = unit.removesuffix(".service")
    if package in MARKS:
        return package in found.servers and found.servers[package].ours
    return (unit.startswith("ai-admin-") and unit not in BY_HAND) or unit in {
        f"redis-server@{it}.service" for it in wanted.get("instances", ("ledger", "broker"))
    }


def overlap(one: str, other: str) -> bool:
    """Return whether one port cannot be had at both addresses by two programs."""
    if one == other or "*" in {one, other}:
        return True
    every = {"0.0.0.0", "::"} & {one, other}  # noqa: S104 - nothing is bound
    return any((":" in it) == (":" in one) == (":" in other) for it in every)


def sites_of(dumped: str) -> list[str]:
    """Return the names of the sites in what ``nginx -T`` printed, but those of ours."""
    parts = re.split(r"(?m)^# configuration file (\S+):$", dumped)
    names: dict[str, None] = {}
    for path, text in zip(parts[1::2], parts[2::2], strict=True):
        told = re.findall(r"(?m)^\s*server_name\s+([^;]+);", text)
        for name in " ".join(told).split() if "AI Admin: webhooks" not in text else ():
            names[name if name != "_" else path] = None
    return list(names)


def _site(proxy: Mapping[str, Any], nginx: Server | None, found: Found) -> Iterator[str]:
    """Yield why our site cannot be one of an nginx of somebody else."""
    if nginx is None:
        yield "proxy_kind is site, and there is no nginx: leave it out, and it is ours"
    elif nginx.ours:
        yield "proxy_kind is site, and nginx.conf is ours: leave it out, or bring the other back"
    elif found.nginx_fault:
        yield f"nginx -T fails before anything was changed: {found.nginx_fault}"
    else:
        yield from _place(proxy, found.nginx)


def _place(proxy: Mapping[str, Any], dumped: str) -> Iterator[str]:
    """Yield why our site would not be read, or not be asked."""
    includes = [
        it if it.startswith("/") else f"/etc/nginx/{it}"
        for it in re.findall(r"(?m)^\s*include\s+([^;]+);", dumped)
    ]
    if not any(fnmatch(proxy["site_file"], it) for it in includes):
        told = ", ".join(sorted({it for it in includes if "*" in it and "module" not in it}))
        yield (
            f"nginx.conf does not include {proxy['site_file']}: set proxy_site_file"
            f" to a file that it includes ({told or 'it includes none'})"
        )
    if proxy["name"] in sites_of(dumped):
        yield (
            f"{proxy['name']} is a site of its nginx already: choose another proxy_server_name,"
            f" or put {SNIPPETS}, into that site, with this host out of the group proxy"
        )
    given = [str(it) for it in proxy["listen"]]
    ports = {it for it in given if it.isdigit()}
    for address, port in re.findall(r"(?m)^\s*listen\s+([0-9.]+):(\d+)\b", dumped):
        if port in ports and f"{address}:{port}" not in given:
            yield (
                f"its nginx listens at {address}:{port}, where a site of every address is not"
                f' asked: set proxy_listen: ["{address}:{port}"]'
            )


# Looking.


def run(*command: str) -> str:
    """Return what a command prints, "" where there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    except OSError:
        return ""
    return done.stdout


def text_of(path: Path) -> str:
    """Return what is in a file, "" where there is none."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def look(root: Path, wanted: Mapping[str, Any]) -> Found:
    """Look at the host whose files are below ``root``."""
    servers = {name: server(root, name) for name in USED if is_installed(name)}
    dumped = fault = ""
    if "nginx" in servers and not servers["nginx"].ours:
        command = ["/usr/sbin/nginx", "-T"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        dumped, fault = done.stdout, done.stderr.strip() if done.returncode else ""
    ports = re.findall(r"(?m)^port\s+(\d+)", text_of(root / "etc/redis/redis.conf"))
    return Found(
        listeners=tuple(listeners(run("ss", "-Hltnp"), unit_of, sockets())),
        servers=servers,
        nginx=dumped,
        nginx_fault=fault,
        redis_port=int(ports[-1]) if ports else 6379,
        strange=tuple(strange(root, wanted)),
        held=frozenset(it for it in run("apt-mark", "showhold").split() if not is_installed(it)),
    )


def listeners(told: str, unit: Callable[[int], str], held: Mapping[int, str]) -> Iterator[Listener]:
    """Yield who listens, by what ss told. ``held``: port → the unit by which systemd listens."""
    for line in told.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        owners = re.findall(r'\("([^"]*)",pid=(\d+)', line)
        units = {unit(int(pid)) or name for name, pid in owners} or {PROGRAM}
        for name in sorted({held[int(port)]} if int(port) in held else units):
            yield Listener(address.strip("[]").partition("%")[0], int(port), name)


def unit_of(pid: int) -> str:
    """Return the unit of a process, "" for none of its own."""
    group = text_of(Path(f"/proc/{pid}/cgroup"))
    found = re.findall(r"(?m)([^/\s]+\.service)(?:/\S*)?$", group)
    return found[-1] if found else ""


def sockets() -> dict[int, str]:
    """Return the units of sockets that systemd holds, by their ports."""
    told = run("systemctl", "list-sockets", "--no-legend", "--no-pager")
    return {int(it[1]): it[2] for it in re.finditer(r"(?m)^\S*:(\d+)\s+(\S+\.socket)", told)}


def is_installed(package: str) -> bool:
    """Return whether a package is installed."""
    return run("dpkg-query", "-W", "-f=${db:Status-Status}", package) == "installed"


def server(root: Path, package: str) -> Server:
    """Return what there is of a server that is installed."""
    settings, left = USED[package]
    mark, words = MARKS.get(package, ("", ""))
    told = run("dpkg-query", "-W", "-f=${Conffiles}\n", package, f"{package}-common")
    digests = dict(re.findall(r"(?m)^ /(\S+) ([0-9a-f]{32})", told))
    has = {it.name for pattern in left.split() for it in root.glob(pattern)}
    return Server(
        running=run("systemctl", "is-active", f"{package}.service").strip() == "active",
        off=run("systemctl", "is-enabled", f"{package}.service").strip() in {"disabled", "masked"},
        ours=bool(words) and words in text_of(root / mark),
        changed=any(is_changed(root / it, digests.get(it, "")) for it in settings.split()),
        has=tuple(sorted(has - NOBODYS)),
    )


def is_changed(path: Path, digest: str) -> bool:
    """Return whether a file is there and not as its package brought it."""
    if not path.is_file():
        return False
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != digest


def strange(root: Path, wanted: Mapping[str, Any]) -> Iterator[str]:
    """Yield what has a name of ours and is not ours."""
    top = wanted.get("root", "")
    inside = {it.name for it in (root / top.lstrip("/")).glob("*")} if top else set()
    if inside - OWN_DIRECTORIES and "deployments" not in inside:
        names = ", ".join(sorted(inside))[:80]
        yield f"{top} is somebody else's (it has {names}): set layout_root to another"
    for name in wanted.get("instances", ()):
        text = text_of(root / f"etc/redis/redis-{name}.conf")
        if text and f"aclfile /etc/redis/{name}.acl" not in text:
            yield f"redis-server@{name}.service is somebody else's: give that instance another name"
    command = text_of(root / "usr/local/bin/ai-admin") if top else ""
    if command and "manage.py" not in command:
        yield "/usr/local/bin/ai-admin is somebody else's: give it another name"
    users = wanted.get("users", ())
    for name in users:
        yield from _user(name)
    yield from _group(wanted.get("group", ""), set(users))


def _user(name: str) -> Iterator[str]:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return
    if not user.pw_shell.endswith(("nologin", "false")) or user.pw_dir != "/nonexistent":
        yield (
            f"the user {name} is somebody else's ({user.pw_dir}, {user.pw_shell}):"
            " give it another name"
        )


def _group(name: str, users: set[str]) -> Iterator[str]:
    try:
        members = set(grp.getgrnam(name).gr_mem) - users
    except KeyError:
        return
    if members:
        yield (
            f"the group {name} is somebody else's (it has {', '.join(sorted(members))}):"
            " set layout_group to another"
        )


def main() -> None:
    """Look and tell."""
    wanted = json.loads(sys.argv[1])
    found = look(Path("/"), wanted)
    redis = found.servers.get("redis-server")
    told = {
        "refusals": list(judge(wanted, found)),
        "redis_is_somebodys": bool(redis and redis.is_somebodys),
    }
    print(json.dumps(told))  # noqa: T201 - a command line prints


if __name__ == "__main__":
    main()
