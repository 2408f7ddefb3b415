"""Certificates by an authority of one's own, held against the strictest that clients ask for."""

import datetime as dt
import json
import runpy
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from laboratory.places import PLAYBOOKS

PROGRAM = PLAYBOOKS / "roles/ledger/files/certificates.py"


main = runpy.run_path(str(PROGRAM))["main"]


def make(directory: Path, *wanted: str) -> dict[str, str]:
    """Return the variables that the program writes."""
    main(directory, *wanted)
    variables: dict[str, str] = yaml.safe_load((directory / "certificates.yml").read_text())
    return variables


def server_of(directory: Path, variables: dict[str, str], name: str) -> ssl.SSLContext:
    """Return what a server presents."""
    pem = directory / f"{name}.pem"
    pem.write_text(variables[f"{name}_tls_certificate"] + variables[f"{name}_tls_key"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def strict(*authorities: str) -> ssl.SSLContext:
    """Return what a client of Python 3.13 trusts, whichever Python this is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata="".join(authorities))
    return context


def meet(server: ssl.SSLContext, client: ssl.SSLContext, address: str) -> None:
    """Shake hands in memory. Raise ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=address)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    left = [here, there]
    for _ in range(10):
        for side in tuple(left):
            try:
                side.do_handshake()
                left.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not left


@pytest.mark.parametrize("address", ["10.0.0.1", "fd00::1", "2001:db8:0:0::7", "one.example.org"])
def test_client_that_is_strict_takes_the_certificate_for_its_address(
    tmp_path: Path, address: str
) -> None:
    variables = make(tmp_path, f"ledger={address}", "broker=192.0.2.9")
    client = strict(variables["ledger_tls_ca"])

    meet(server_of(tmp_path, variables, "ledger"), client, address)

    for name, other in (("broker", address), ("ledger", "192.0.2.9")):
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            meet(server_of(tmp_path, variables, name), client, other)


def test_openssl_finds_nothing_against_it_as_a_server(tmp_path: Path) -> None:
    """As the roles ask before they install one."""
    variables = make(tmp_path, "ledger=fd00::1")
    server_of(tmp_path, variables, "ledger")
    checks = ["-x509_strict", "-purpose", "sslserver", "-verify_ip", "fd00::1"]
    command = ["openssl", "verify", *checks, "-CAfile", str(tmp_path / "ca.pem")]

    done = subprocess.run(
        [*command, str(tmp_path / "ledger.pem")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_another_run_renews_by_the_same_authority(tmp_path: Path) -> None:
    first = make(tmp_path, "ledger=10.0.0.1")
    second = make(tmp_path, "ledger=10.0.0.1")

    assert first["ledger_tls_ca"] == second["ledger_tls_ca"]
    assert first["ledger_tls_key"] != second["ledger_tls_key"]
    meet(server_of(tmp_path, second, "ledger"), strict(first["ledger_tls_ca"]), "10.0.0.1")


def test_both_authorities_are_taken_while_both_are_known(tmp_path: Path) -> None:
    old, new = (make(tmp_path / name, "ledger=10.0.0.1") for name in ("old", "new"))
    both = strict(old["ledger_tls_ca"], new["ledger_tls_ca"])

    for name, variables in (("old", old), ("new", new)):
        meet(server_of(tmp_path / name, variables, "ledger"), both, "10.0.0.1")

    with pytest.raises(ssl.SSLCertVerificationError):
        meet(server_of(tmp_path / "new", new, "ledger"), strict(old["ledger_tls_ca"]), "10.0.0.1")


def test_authority_outlives_what_it_signs(tmp_path: Path) -> None:
    variables = make(tmp_path, "ledger=10.0.0.1")
    now = dt.datetime.now(dt.UTC)
    certificates = [
        x509.load_pem_x509_certificate(variables[f"ledger_tls_{it}"].encode())
        for it in ("ca", "certificate")
    ]

    assert [(it.not_valid_after_utc - now).days for it in certificates] == [3649, 824]


@pytest.mark.parametrize(
    ("wanted", "missing", "says"),
    [
        (["ledger"], "", "NAME=ADDRESS"),
        (["redis=10.0.0.1"], "", "each NAME is ledger, broker or proxy"),
        ([], "", "NAME=ADDRESS"),
        (["ledger=10.0.0.1"], "ca.key", "ca.key is missing"),
        (["ledger=10.0.0.1"], "ca.pem", "ca.pem is missing"),
    ],
)
def test_mistake_is_told_and_nothing_is_made(
    tmp_path: Path, wanted: list[str], missing: str, says: str
) -> None:
    if missing:
        make(tmp_path, "ledger=10.0.0.1")
        (tmp_path / missing).unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(SystemExit, match=says):
        main(tmp_path, *wanted)

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def played(
    directory: Path, hosts: dict[str, Any], groups: dict[str, str], *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Play certificates.yml for ``groups``, each with one host; it writes beside the inventory.

    The first of ``hosts`` has the application.
    """
    application = dict.fromkeys(("web", "workers", "scheduler"), next(iter(hosts)))
    children = {group: {"hosts": {it: None}} for group, it in (application | groups).items()}
    inventory = {"vars": {"ansible_become": True}, "hosts": hosts, "children": children}
    (directory / "hosts.yml").write_text(json.dumps({"all": inventory}))
    play = [str(Path(sys.executable).with_name("ansible-playbook")), "certificates.yml"]
    play += [f"--inventory={directory}/hosts.yml", *arguments]
    return subprocess.run(
        [*play, "-e", f"certificates_directory={directory / 'certificates'}"],
        cwd=PLAYBOOKS,
        capture_output=True,
        text=True,
        check=False,
    )


TWO_HOSTS = {"one": {"private_address": "fd00::1"}, "two": {"ansible_host": "10.0.0.2"}}
ONE_HOST = {"one": {"private_address": "10.0.0.1"}}


@pytest.mark.parametrize(
    ("hosts", "groups", "addresses"),
    [
        (
            TWO_HOSTS,
            {"ledger": "one", "broker": "two"},
            {"ledger": "fd00::1", "broker": "10.0.0.2"},
        ),
        (ONE_HOST, {"ledger": "one"}, {"ledger": "10.0.0.1"}),
    ],
    ids=["several hosts", "one host"],
)
def test_playbook_makes_them_for_the_addresses_of_the_inventory(
    tmp_path: Path, hosts: dict[str, Any], groups: dict[str, str], addresses: dict[str, str]
) -> None:
    made = tmp_path / "certificates"

    done = played(tmp_path, hosts, groups)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "PRIVATE" not in done.stdout
    assert {path.stat().st_mode & 0o077 for path in (made, *made.iterdir())} == {0}
    variables: dict[str, str] = yaml.safe_load((made / "certificates.yml").read_text())
    client = strict(variables["ledger_tls_ca"])
    for name, address in addresses.items():
        meet(server_of(made, variables, name), client, address)


@pytest.mark.parametrize(
    ("groups", "arguments", "says"),
    [
        (
            {},
            ("-e", "topology_ledger_address=redis.test"),
            "neither the group ledger nor the group broker has a host",
        ),
        ({"ledgr": "one"}, (), "did you mean ledger?"),
        ({"ledger": "one"}, ("-e", "ledger_prot=1"), "did you mean ledger_port?"),
        ({"ledger": "one"}, ("--tags=servers",), "--tags servers"),
    ],
)
def test_playbook_refuses_what_would_make_others_than_were_meant(
    tmp_path: Path, groups: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    done = played(tmp_path, ONE_HOST, groups, *arguments)

    assert done.returncode
    assert says in done.stdout
    assert not (tmp_path / "certificates").exists()
