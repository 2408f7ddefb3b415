"""A ledger whose certificate is replaced, and then its authority, while processes use it."""

import shutil
from pathlib import Path
from urllib.parse import urlencode

import pytest
import redis
import yaml

from runtime.clients import redis_client
from tests.conftest import IN_CI
from tests.processes import Guard, OwnedProcess, started
from tests.tls import make
from tests.valkey_server import free_port
from tests.waiting import eventually


def server_files(directory: Path) -> tuple[str, str]:
    """Make certificates; return the server's with its key, and the authority, as files."""
    make(directory, 30)
    variables: dict[str, str] = yaml.safe_load((directory / "certificates.yml").read_text())
    pem = directory / "ledger.pem"
    pem.write_text(variables["ledger_tls_certificate"] + variables["ledger_tls_key"])
    return str(pem), str(directory / "ca.pem")


def answers(client: redis.Redis) -> bool:
    """Return whether a fresh connection is answered."""
    client.connection_pool.disconnect()
    return bool(client.ping())


def test_new_certificate_and_new_authority_cost_no_connection(tmp_path: Path, guard: Guard) -> None:
    """In the order of site.yml: who calls knows both authorities before the server changes."""
    binary = shutil.which("redis-server")
    if not binary:
        assert not IN_CI, "redis-server is missing"
        pytest.skip("no redis-server with TLS: apt install redis-server")
    before, renewed, other = tmp_path / "before", tmp_path / "renewed", tmp_path / "other"
    old = server_files(before)
    # By the same authority.
    shutil.copytree(before, renewed)
    again = server_files(renewed)
    new = server_files(other)
    port, known = free_port(), tmp_path / "known.pem"
    known.write_text(Path(old[1]).read_text())
    command = [binary, "--port", "0", "--tls-port", str(port), "--bind", "::1", "--save", ""]
    command += ["--tls-cert-file", old[0], "--tls-key-file", old[0], "--tls-ca-cert-file", old[1]]
    command += ["--tls-auth-clients", "no", "--dir", str(tmp_path)]
    server = OwnedProcess(command, log_path=tmp_path / "log", guard=guard, environ={}, cwd=tmp_path)
    url = f"rediss://[::1]:{port}/0?{urlencode({'ssl_ca_certs': str(known)})}"
    with started(server), redis_client(url, "web") as caller, redis_client(url, "web") as kept:
        eventually(lambda: reached(caller), what="the server")
        kept.ping()
        for pem, authority, trusted in (
            (*again, Path(old[1]).read_text()),
            (*new, Path(old[1]).read_text() + Path(new[1]).read_text()),
        ):
            known.write_text(trusted)
            assert answers(caller)
            files = {"tls-cert-file": pem, "tls-key-file": pem, "tls-ca-cert-file": authority}
            caller.execute_command("CONFIG", "SET", *(it for pair in files.items() for it in pair))
            assert answers(caller)
            assert kept.ping()
        known.write_text(Path(new[1]).read_text())
        assert answers(caller)

        known.write_text(Path(old[1]).read_text())
        with pytest.raises(redis.ConnectionError, match="certificate"):
            answers(caller)
        # Who is connected stays so.
        assert kept.ping()


def reached(client: redis.Redis) -> bool:
    """Return whether the server is up."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
