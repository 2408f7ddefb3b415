"""The proxy of the playbooks: nginx reads the very template, filled in, and serves by it."""

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import jinja2
import pytest
import yaml

from tests.conftest import IN_CI
from tests.processes import Guard, OwnedProcess, started
from tests.repository import ROOT
from tests.valkey_server import ValkeyServer, free_port
from tests.waiting import eventually
from tests.web.conftest import environ_of, write_accounts
from tests.web.server import WebServer
from tests.webhooks import CLOUD, JSON, counts, padded, signed
from web.webhooks import BODY_BYTES_MAX

ROLE = ROOT / "ansible" / "roles" / "proxy"
NAME = "localhost"
#: So often that an answer which a reset overtakes now and then is seen.
TIMES = 10


@pytest.fixture(scope="module")
def nginx() -> str:
    """Return the server's path; skip where there is none, fail in CI."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found:
        return found
    if IN_CI:
        pytest.fail("nginx is not installed")
    pytest.skip("nginx is not installed")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a certificate for NAME, and its key."""
    found = tmp_path_factory.mktemp("proxy")
    pem = str(found / "ai-admin.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={NAME}"]
    command = ["openssl", "req", "-x509", "-nodes", *kind, "-keyout", f"{pem}.key", "-out", pem]
    subprocess.run(command, check=True, capture_output=True)
    with Path(pem).open("a") as both:
        both.write(Path(f"{pem}.key").read_text())
    return found


def write(directory: Path, **variables: object) -> Path:
    """Write the configuration, with its files in ``directory``, and return its path."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no page, but what nginx reads
    )
    given: dict[str, object] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    given |= yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    given |= {"proxy_server_name": NAME, "proxy_drained_hosts": [], "proxy_answer_s_max": 20}
    text = environment.get_template("nginx.conf.j2").render(
        given | {"ansible_managed": "by a test"} | variables
    )
    for place in ("/etc/nginx/", "/var/log/nginx/", "/run/"):
        text = text.replace(place, f"{directory}/")
    spools = "".join(f"{it}_temp_path {directory}/{it};" for it in ("client_body", "proxy"))
    text = text.replace("user www-data;", "user root;").replace("http {", f"http {{ {spools}", 1)
    path = directory / "nginx.conf"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"topology_web_is_local": True, "proxy_web_hosts": ["one"]}, id="one host"),
        pytest.param(
            {
                "topology_web_is_local": False,
                "proxy_web_hosts": ["one", "two", "three"],
                "proxy_drained_hosts": ["two"],
                "proxy_answer_s_max": 6,
            },
            id="hosts, one of them drained",
        ),
    ],
)
def test_nginx_understands_its_configuration(
    nginx: str, directory: Path, variables: dict[str, object]
) -> None:
    hosts = {"one": {"private_address": "192.0.2.1"}, "two": {"ansible_host": "192.0.2.2"}}
    listen = [f"127.0.0.1:{free_port()}", str(free_port())]

    hostvars = hosts | {"three": {"private_address": "192.0.2.3"}}
    path = write(directory, **variables, proxy_listen=listen, hostvars=hostvars)
    checked = subprocess.run(
        [nginx, "-t", "-q", "-c", path, "-p", directory, "-e", directory / "error.log"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


def listens(port: int) -> bool:
    """Return whether somebody takes connections at ``port``."""
    with socket.socket() as connection:
        return not connection.connect_ex(("127.0.0.1", port))


@pytest.fixture
def proxy(
    nginx: str, directory: Path, valkey: ValkeyServer, guard: Guard
) -> Iterator[httpx2.Client]:
    """Yield a client of nginx before a web process."""
    valkey.empty()
    web = WebServer(environ_of(valkey, write_accounts(directory)), directory, guard)
    port = free_port()
    path = write(
        directory,
        topology_web_is_local=True,
        proxy_web_hosts=["one"],
        hostvars={"one": {}},
        proxy_listen=[f"127.0.0.1:{port}"],
        proxy_web_port=web.port,
    )
    running = OwnedProcess(
        [nginx, "-c", str(path), "-p", str(directory), "-g", "daemon off;"],
        log_path=directory / "nginx.log",
        guard=guard,
        environ={},
        cwd=directory,
    )
    context = ssl.create_default_context(cafile=directory / "ai-admin.pem")
    with (
        started(web),
        started(running),
        httpx2.Client(base_url=f"https://{NAME}:{port}", verify=context, trust_env=False) as client,
    ):
        eventually(lambda: listens(port), what="nginx to listen")
        yield client


def test_answer_to_a_body_that_is_not_read_comes_through_the_proxy(
    proxy: httpx2.Client, directory: Path
) -> None:
    """A reset in place of the answer would make nginx ask the next host, again and again."""
    largest = padded(BODY_BYTES_MAX)
    requests = [
        (CLOUD, largest, signed(largest), 200),
        ("/livez", b"", JSON, 404),
        ("/webhooks/../fleet", b"", JSON, 404),
        *[(CLOUD, largest, JSON, 401)] * TIMES,
        *[("/webhooks/venom/nobody", largest, JSON, 401)] * TIMES,
        *[(CLOUD, largest + b" " * 500_000, JSON, 413)] * TIMES,
    ]

    answers = [
        proxy.post(path, content=raw, headers=headers, timeout=60)
        for path, raw, headers, _ in requests
    ]

    assert answers[0].json() == counts(accepted=1)
    assert [answer.status_code for answer in answers] == [status for *_, status in requests]
    # nginx writes a line after the answer.
    log = directory / "access.log"
    eventually(lambda: log.read_text().count("\n") >= len(requests), what="every line")
    asked = [json.loads(line)["statuses"] for line in log.read_text().splitlines()]
    assert asked == ["" if status == 404 else str(status) for *_, status in requests]
