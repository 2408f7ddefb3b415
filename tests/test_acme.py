"""The proxy's certificate by ACME: the role's own program, lego, nginx, and an ACME server."""

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from cryptography import x509

from tests.conftest import IN_CI
from tests.processes import Guard, OwnedProcess, started
from tests.test_proxy import leading, listens, nginx, render, write
from tests.tls import make
from tests.valkey_server import free_port
from tests.waiting import eventually

__all__ = ["nginx"]

NAME = "webhooks.test"
#: In place of systemd: it reloads nginx, and says so; while there is a file ``broken`` it cannot.
SYSTEMCTL = """#!/bin/sh
[ ! -e {directory}/broken ] || exit 1
echo "$*" >> {directory}/asked
exec {nginx} -s reload -c {directory}/nginx.conf -p {directory}
"""
HOOK = """#!/bin/sh
case "$1" in present) ;; *) exit 0 ;; esac
exec curl --silent --fail --data "{{\\"host\\": \\"$2\\", \\"value\\": \\"$3\\"}}" http://127.0.0.1:{dns}/set-txt
"""


def needed(program: str) -> str:
    """Return a program's path; skip where there is none, fail in CI."""
    found = shutil.which(program)
    if not found and IN_CI:
        pytest.fail(f"{program} is not installed")
    if not found:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory, guard: Guard) -> Iterator[dict[str, str]]:
    """Yield where an ACME server is, where it asks for challenges, and who vouches for it."""
    here = tmp_path_factory.mktemp("acme")
    make(here, 30)
    variables: dict[str, str] = yaml.safe_load((here / "certificates.yml").read_text())
    for kind in ("certificate", "key"):
        (here / kind).write_text(variables[f"proxy_tls_{kind}"])
    ports = [free_port() for _ in range(6)]
    listen, manage, http, tls, dns, names_port = ports
    (here / "pebble.json").write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"127.0.0.1:{listen}",
                    "managementListenAddress": f"127.0.0.1:{manage}",
                    "certificate": str(here / "certificate"),
                    "privateKey": str(here / "key"),
                    "httpPort": http,
                    "tlsPort": tls,
                }
            }
        )
    )
    names = [needed("pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    names += ["-dns01", f"127.0.0.1:{dns}", "-http01", "", "-https01", "", "-tlsalpn01", ""]
    names += ["-management", f"127.0.0.1:{names_port}"]
    server = [needed("pebble"), "-config", str(here / "pebble.json")]
    server += ["-dnsserver", f"127.0.0.1:{dns}", "-strict"]
    quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (
        started(
            OwnedProcess(names, log_path=here / "names.log", guard=guard, environ={}, cwd=here)
        ),
        started(
            OwnedProcess(server, log_path=here / "acme.log", guard=guard, environ=quick, cwd=here)
        ),
    ):
        eventually(lambda: listens(listen), what="the ACME server to listen")
        eventually(lambda: listens(manage), what="its other port")
        yield {
            "server": f"https://localhost:{listen}/dir",
            "root": f"https://localhost:{manage}/roots/0",
            "http": str(http),
            "resolver": f"127.0.0.1:{dns}",
            "dns": str(names_port),
            "authority": str(here / "ca.pem"),
        }


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def shown(port: int) -> x509.Certificate:
    """Return the certificate that nginx shows for NAME."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")


@pytest.mark.parametrize("names", [False, True], ids=["by HTTP", "by names"])
def test_certificate_is_had_shown_and_renewed(
    nginx: str, acme: dict[str, str], tmp_path: Path, guard: Guard, *, names: bool
) -> None:
    state, port = tmp_path / "state", free_port()
    (state / "webroot").mkdir(parents=True)
    shutil.copy(acme["authority"], state / "authority.pem")
    # What stands in until there is one.
    make(tmp_path / "nobody", 7)
    variables = yaml.safe_load((tmp_path / "nobody/certificates.yml").read_text())
    pem = tmp_path / "ai-admin.pem"
    pem.write_text(variables["proxy_tls_certificate"] + variables["proxy_tls_key"])
    given: dict[str, object] = {
        "proxy_server_name": NAME,
        "proxy_certificate_from": "acme",
        "proxy_acme_server": acme["server"],
        "proxy_acme_authority": "there is one",
        "proxy_acme_email": "owner@example.test",
        "proxy_acme_state": str(state),
        "proxy_acme_listen": [f"127.0.0.1:{acme['http']}"],
        "proxy_acme_dns": "exec" if names else "",
        "proxy_acme_arguments": ["--dns.disable-cp", f"--dns.resolvers={acme['resolver']}"],
    }
    write(
        tmp_path,
        **given,
        **leading({"one": "127.0.0.1:8000"}),
        proxy_web_hosts=["one"],
        proxy_listen=[f"127.0.0.1:{port}"],
    )
    text = render("acme.j2", tmp_path, **given)
    program(tmp_path / "acme", text)
    program(tmp_path / "later", text.replace("--days 30", "--days 99999"))
    program(tmp_path / "systemctl", SYSTEMCTL.format(directory=tmp_path, nginx=nginx))
    program(tmp_path / "hook", HOOK.format(dns=acme["dns"]))
    environ = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "EXEC_PATH": str(tmp_path / "hook"),
    }
    needed("lego")

    def run(name: str) -> int:
        done = subprocess.run(
            [tmp_path / name], env=environ, capture_output=True, text=True, check=False
        )
        (tmp_path / "said").write_text(done.stdout + done.stderr)
        return done.returncode

    def asked() -> int:
        path = tmp_path / "asked"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def after(before: x509.Certificate) -> x509.Certificate:
        """Return the next one: for a moment a worker of before may go on."""
        return eventually(lambda: found if (found := shown(port)) != before else None)

    running = OwnedProcess(
        [nginx, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path), "-g", "daemon off;"],
        log_path=tmp_path / "nginx.log",
        guard=guard,
        environ={},
        cwd=tmp_path,
    )
    with started(running):
        eventually(lambda: listens(port), what="nginx to listen")
        nobodys = shown(port)

        (tmp_path / "broken").touch()
        assert run("acme") != 0
        assert shown(port) == nobodys
        (tmp_path / "broken").unlink()
        # The certificate lies there, and nginx was not told of it.
        assert run("acme") == 0, (tmp_path / "said").read_text()
        first = after(nobodys)
        assert run("acme") == 0
        assert asked() == 1
        assert run("later") == 0, (tmp_path / "said").read_text()
        assert after(first) != nobodys
        assert asked() == 2

        found = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found.get_values_for_type(x509.DNSName) == [NAME]
        assert "Pebble" in first.issuer.rfc4514_string()
        assert pem.stat().st_mode & 0o077 == 0
        if not names:
            plain = f"http://127.0.0.1:{acme['http']}"
            paths = (
                "/",
                "/webhooks/whatsapp_cloud",
                "/.well-known/",
                "/.well-known/acme-challenge/x",
            )
            assert {httpx2.get(plain + it, trust_env=False).status_code for it in paths} == {404}
        else:
            assert not listens(int(acme["http"]))
