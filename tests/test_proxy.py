"""The proxy of the playbooks: nginx reads the very template, filled in, and serves by it."""

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import jinja2
import pytest
import yaml

from tests.conftest import IN_CI
from tests.processes import Guard, OwnedProcess, started
from tests.repository import ROOT, snippet
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


def server(name: str) -> str:
    """Return a server's path; skip where there is none, fail in CI."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found:
        return found
    if IN_CI:
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def nginx() -> str:
    """Return the path of nginx."""
    return server("nginx")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a certificate for NAME, and its key."""
    pem = tmp_path_factory.mktemp("certificate") / "ai-admin.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={NAME}"]
    files = ["-keyout", f"{pem}.key", "-out", f"{pem}"]
    subprocess.run(
        ["openssl", "req", "-x509", "-nodes", *kind, *files], check=True, capture_output=True
    )
    with pem.open("a") as both:
        both.write(Path(f"{pem}.key").read_text())
    return pem


@pytest.fixture
def directory(tmp_path: Path, certificate: Path) -> Path:
    """Return a directory of one server: its configuration, certificate and logs are its own."""
    shutil.copy(certificate, tmp_path)
    return tmp_path


#: An nginx of somebody else, as Debian's package has it, who says more for all sites.
OTHERS = """
user www-data;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
    access_log /var/log/nginx/access.log;
    gzip on;
    auth_basic "all sites";
    auth_basic_user_file /etc/nginx/nobody;
    deny all;
    ssl_protocols TLSv1.2 TLSv1.3;
    include /etc/nginx/conf.d/*.conf;
    server {
        listen 127.0.0.1:OTHER;
        allow 127.0.0.1;
        auth_basic off;
        return 200 "somebody else's";
    }
}
"""


def render(template: str, directory: Path, **variables: object) -> str:
    """Return a template of the role filled in, with its files in ``directory``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no page, but what nginx reads
    )
    given: dict[str, object] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    given |= yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    given |= {"proxy_server_name": NAME, "proxy_drained_hosts": [], "proxy_answer_s_max": 20}
    text = environment.get_template(template).render(
        given | {"ansible_managed": "by a test"} | variables
    )
    return placed(text, directory)


def placed(text: str, directory: Path) -> str:
    """Return a configuration with its files in ``directory``, for who may run this test."""
    for place in ("/etc/nginx/", "/var/log/nginx/", "/run/"):
        text = text.replace(place, f"{directory}/")
    spools = "".join(f"{it}_temp_path {directory}/{it};" for it in ("client_body", "proxy"))
    return text.replace("user www-data;", "user root;").replace("http {", f"http {{ {spools}", 1)


def write(directory: Path, **variables: object) -> Path:
    """Write the whole configuration, or our site into somebody else's; return the path."""
    text = render("nginx.conf.j2", directory, **variables)
    if variables.get("proxy_kind") == "site":
        (directory / "conf.d").mkdir(exist_ok=True)
        site = render("site.conf.j2", directory, **variables)
        (directory / "conf.d" / "ai-admin.conf").write_text(site)
        text = placed(OTHERS.replace("OTHER", str(variables["others_port"])), directory)
    path = directory / "nginx.conf"
    path.write_text(text)
    return path


LISTENS = {"one": "10.0.0.1:8000", "two": "10.0.0.2:8000", "three": "[fd00::3]:9000"}


def leading(serves: dict[str, str]) -> dict[str, object]:
    """Return the variables of the proxy on host one, where each of ``serves`` serves there now."""
    hosts: dict[str, object] = {name: {"layout_web_serves": it} for name, it in serves.items()}
    return {
        "topology_web_listens": LISTENS,
        "inventory_hostname": "one",
        "hostvars": {name: {} for name in LISTENS} | hosts,
    }


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"proxy_web_hosts": ["one"]}, id="one host"),
        pytest.param(
            {
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
    listen = [f"127.0.0.1:{free_port()}", str(free_port())]

    path = write(directory, **variables, proxy_listen=listen, **leading(LISTENS))
    checked = subprocess.run(
        [nginx, "-t", "-q", "-c", path, "-p", directory, "-e", directory / "error.log"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


LEADS = {
    "none is made yet": ({}, {"one": "10.0.0.1:8000", "two": "10.0.0.2:8000"}),
    "as is meant": (LISTENS, {"one": "10.0.0.1:8000", "two": "10.0.0.2:8000"}),
    "an address of before is served": (
        LISTENS | {"two": "10.0.0.9:8000"},
        {"one": "10.0.0.1:8000", "two": "10.0.0.9:8000"},
    ),
    "one host is being made": (LISTENS | {"two": ""}, {"one": "10.0.0.1:8000"}),
    "both are being made": (
        {"one": "", "two": ""},
        {"one": "10.0.0.1:8000", "two": "10.0.0.2:8000"},
    ),
    "this host's loopback": (
        {"one": "127.0.0.1:8000", "two": ""},
        {"one": "127.0.0.1:8000"},
    ),
    "another host's loopback": (
        {"one": "10.0.0.1:8000", "two": "127.0.0.1:8000"},
        {"one": "10.0.0.1:8000"},
    ),
    "another host's own loopback, the one host there was": (
        {"one": "", "two": "[::1]:8000"},
        {"one": "10.0.0.1:8000", "two": "10.0.0.2:8000"},
    ),
}


@pytest.mark.parametrize(("serves", "led"), LEADS.values(), ids=LEADS)
def test_proxy_leads_to_where_the_web_serves_now(
    directory: Path, serves: dict[str, str], led: dict[str, str]
) -> None:
    """Not to where it is to be: between the two is a handover."""
    text = write(directory, **leading(serves), proxy_web_hosts=["one", "two"]).read_text()

    lines = re.findall(r"^ +server (\S+) max_fails=0( down)?;  # (\S+)$", text, re.MULTILINE)
    assert {host: address for address, down, host in lines if not down} == led
    assert {host for _, _, host in lines} == {"one", "two"}


def listens(port: int) -> bool:
    """Return whether somebody takes connections at ``port``."""
    with socket.socket() as connection:
        return not connection.connect_ex(("127.0.0.1", port))


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer, guard: Guard
) -> Iterator[WebServer]:
    """Yield a web process."""
    valkey.empty()
    place = tmp_path_factory.mktemp("web")
    with started(WebServer(environ_of(valkey, write_accounts(place)), place, guard)) as it:
        yield it


@contextmanager
def serving(
    command: list[str], port: int, directory: Path, guard: Guard
) -> Iterator[httpx2.Client]:
    """Have a server with the certificate in ``directory`` run; yield a client of it."""
    running = OwnedProcess(
        command,
        log_path=directory / f"{port}.log",
        guard=guard,
        environ={"HOME": str(directory)},
        cwd=directory,
    )
    context = ssl.create_default_context(cafile=directory / "ai-admin.pem")
    with (
        started(running),
        httpx2.Client(base_url=f"https://{NAME}:{port}", verify=context, trust_env=False) as client,
    ):
        eventually(lambda: listens(port) or not running.running, what="the proxy to listen")
        assert running.running, running.log()
        yield client


def nginx_command(nginx: str, path: Path) -> list[str]:
    return [nginx, "-c", str(path), "-p", str(path.parent), "-g", "daemon off;"]


@pytest.fixture
def proxy(nginx: str, directory: Path, web: WebServer, guard: Guard) -> Iterator[httpx2.Client]:
    """Yield a client of nginx before a web process."""
    port = free_port()
    path = write(directory, **before(web, port))
    with serving(nginx_command(nginx, path), port, directory, guard) as client:
        yield client


def before(web: WebServer, port: int) -> dict[str, object]:
    """Return the variables of a proxy at ``port``, on the host of the one web process."""
    return {
        **leading({"one": f"127.0.0.1:{web.port}"}),
        "proxy_web_hosts": ["one"],
        "proxy_listen": [f"127.0.0.1:{port}"],
    }


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

    # A ledger that is slow for once is asked again: the message is known by then.
    assert answers[0].json() in (counts(accepted=1), counts(duplicate=1))
    assert [answer.status_code for answer in answers] == [status for *_, status in requests]
    # nginx writes a line after the answer.
    log = directory / "access.log"
    eventually(lambda: log.read_text().count("\n") >= len(requests), what="every line")
    asked = [json.loads(line)["statuses"] for line in log.read_text().splitlines()]
    assert asked[0].endswith("200")
    assert asked[1:] == ["" if status == 404 else str(status) for *_, status in requests[1:]]


def own_server(text: str, directory: Path, web: WebServer, port: int) -> str:
    """Return a snippet of the document with our names, places and ports."""
    for told, ours in {
        "webhooks.example.org": NAME,
        "listen 443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{web.port}",
        "/etc/ssl/webhooks.pem": f"{directory}/ai-admin.pem",
        "/etc/ssl/private/webhooks.key": f"{directory}/ai-admin.pem",
        "/var/log/nginx/": f"{directory}/",
        "/var/log/caddy/": f"{directory}/",
    }.items():
        assert told == "listen 443" or "/" in told or told in text
        text = text.replace(told, ours)
    return text


@pytest.fixture(params=["site", "nginx", "caddy"])
def beside(
    request: pytest.FixtureRequest, nginx: str, directory: Path, web: WebServer, guard: Guard
) -> Iterator[tuple[httpx2.Client, Path, int]]:
    """Yield a client of a server of somebody else, its log, and the port of his own site."""
    port, others = free_port(), free_port()
    log = directory / ("ai-admin.log" if request.param == "site" else "webhooks.log")
    if request.param == "site":
        path = write(directory, **before(web, port), proxy_kind="site", others_port=others)
        command = nginx_command(nginx, path)
    elif request.param == "nginx":
        given = own_server(snippet("deploy.md", "log_format without_query"), directory, web, port)
        (directory / "conf.d").mkdir(exist_ok=True)
        (directory / "conf.d" / "ai-admin.conf").write_text(given)
        path = directory / "nginx.conf"
        text = OTHERS.replace("OTHER", str(others))
        path.write_text(
            placed(text.replace("deny all;", "").replace('auth_basic "all sites";', ""), directory)
        )
        command = nginx_command(nginx, path)
    else:
        given = own_server(snippet("deploy.md", "webhooks.example.org {"), directory, web, port)
        head, rest = given.split("{\n", 1)
        tls = f"tls {directory}/ai-admin.pem {directory}/ai-admin.pem"
        path = directory / "Caddyfile"
        path.write_text(
            f"{{\nadmin off\nauto_https disable_redirects\n}}\n"
            f'http://127.0.0.1:{others} {{\nrespond "somebody else\'s"\n}}\n'
            f"{head.strip()}:{port} {{\n{tls}\n{rest}"
        )
        command = [server("caddy"), "run", "--config", str(path), "--adapter", "caddyfile"]
    with serving(command, port, directory, guard) as client:
        yield client, log, others


#: How a request is spelled that strangers may not make, as it goes over the wire.
SPELLINGS = (
    *("/livez", "/fleet", "/metrics", "/", "/webhooks", "/webhooks/../fleet", "//fleet"),
    *("/webhooks/%2e%2e/fleet", "/webhooks/./../metrics", "/x/../fleet", "/%66leet"),
)


def test_server_of_somebody_else_publishes_the_webhooks_beside_his_own(
    beside: tuple[httpx2.Client, Path, int], valkey: ValkeyServer
) -> None:
    client, log, others = beside
    valkey.empty()
    message, large = padded(1_000), padded(BODY_BYTES_MAX + 500_000)

    answers = [
        client.post(CLOUD, content=raw, headers=headers, timeout=60)
        for raw, headers in (
            (message, signed(message)),
            (large, JSON),
        )
    ]
    secret = client.get(f"{CLOUD}?hub.mode=subscribe&hub.verify_token=guessed-token")

    assert [answer.status_code for answer in answers] == [200, 413]
    assert answers[0].json() in (counts(accepted=1), counts(duplicate=1))
    assert secret.status_code == 403
    assert {it: status_of(client, it) for it in SPELLINGS} == dict.fromkeys(SPELLINGS, 404)
    assert httpx2.get(f"http://127.0.0.1:{others}/", trust_env=False).text == "somebody else's"
    eventually(lambda: log.read_text().count("\n") >= len(SPELLINGS), what="every line")
    assert "guessed-token" not in log.read_text()


def status_of(client: httpx2.Client, target: str) -> int:
    """Return what a server answers to a target that no client of ours would spell so."""
    context = ssl.create_default_context(cafile=None)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = client.base_url
    connection = http.client.HTTPSConnection(url.host, url.port, timeout=60, context=context)
    with closing(connection):
        connection.request("GET", target, headers={"X-Forwarded-For": "10.0.0.1"})
        return connection.getresponse().status
