"""The proxy's certificate by ACME: had, shown and renewed on a host while customers write."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from laboratory import network, shell
from laboratory.places import CONTROLLER, LaboratoryError
from laboratory.secrecy import SERVER_NAME
from laboratory.site import Site
from laboratory.stage import Stage

_LISTEN, _MANAGE, _NAMES = 14000, 15000, 8053
_SERVER = f"https://{CONTROLLER}:{_LISTEN}/dir"
_TRUST = "/usr/local/share/ca-certificates/acme.crt"
#: The program of the host, for which every certificate is about to end.
_RENEW = """
sed -i 's/--days 30/--days 99999/' /usr/local/sbin/ai-admin-acme
systemctl start ai-admin-acme.service
sed -i 's/--days 99999/--days 30/' /usr/local/sbin/ai-admin-acme
"""


def by_acme(stage: Stage) -> None:
    """Go over from the vault's certificate to one by ACME, and have it renewed."""
    if stage.site.kind != "one":
        return
    site, guest = stage.site, stage.site.entrance
    with _authority(site) as (vouches, root):
        stage.session.meta.trust(root)
        (guest.root / _TRUST.lstrip("/")).write_text(root)
        guest.ssh("update-ca-certificates")
        settings = {
            "proxy_certificate_from": "acme",
            "proxy_acme_server": _SERVER,
            "proxy_acme_email": "owner@example.test",
            "proxy_acme_authority": vouches,
        }
        site.inventory.set_host(guest.host, settings)
        release = stage.release
        with stage.traffic("a certificate by ACME") as chapter:
            chapter.wait(2)
            stage.plays_well("site.yml", release=release)
            had = _shown(site)
            guest.ssh(_RENEW)
            shell.wait_until(lambda: _shown(site) != had, "no other certificate is shown")
            chapter.wait(2)
        stage.changes_nothing(release=release)
        stage.expect("Pebble" in _shown(site), f"not by ACME: {_shown(site)}")
        stage.plays_well("verify.yml")
    site.inventory.set_host(guest.host, {})
    with stage.traffic("the vault's certificate again"):
        stage.plays_well("site.yml", release=release)
    stage.expect("Pebble" not in _shown(site), "the vault's certificate is not shown again")


def _shown(site: Site) -> str:
    """Return who issued the certificate that the proxy shows, and its number."""
    asked = f"openssl s_client -connect {site.entrance.address}:443 -servername {SERVER_NAME}"
    read = f"{asked} </dev/null 2>/dev/null | openssl x509 -noout -issuer -serial"
    return shell.run([*network.inside(site.names), "sh", "-c", read])


@contextmanager
def _authority(site: Site) -> Iterator[tuple[str, str]]:
    """Run an ACME server on the controller; yield who vouches for it, and its own root."""
    directory = site.names.directory / "acme"
    directory.mkdir()
    made = site.inventory.authority.sign(proxy=CONTROLLER)
    for kind in ("certificate", "key"):
        (directory / kind).write_text(made[f"proxy_tls_{kind}"])
    settings = {
        "listenAddress": f"{CONTROLLER}:{_LISTEN}",
        "managementListenAddress": f"{CONTROLLER}:{_MANAGE}",
        "certificate": str(directory / "certificate"),
        "privateKey": str(directory / "key"),
        "httpPort": 80,
        "tlsPort": 443,
    }
    (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
    names = ["pebble-challtestsrv", "-defaultIPv4", site.entrance.address, "-defaultIPv6", ""]
    names += ["-dns01", f"127.0.0.1:{_NAMES}", "-http01", "", "-https01", "", "-tlsalpn01", ""]
    server = ["pebble", "-config", str(directory / "pebble.json"), "-strict"]
    server += ["-dnsserver", f"127.0.0.1:{_NAMES}"]
    trusted = site.inventory.authority.certificate
    asked = f"curl --silent --fail --cacert {trusted} https://{CONTROLLER}:{_MANAGE}/roots/0"
    read = [*network.inside(site.names), *asked.split()]
    with _running(site, names), _running(site, server):
        shell.wait_until(lambda: shell.attempt(read), f"no ACME server: see {directory}")
        yield trusted.read_text(), shell.run(read)


@contextmanager
def _running(site: Site, command: list[str]) -> Iterator[None]:
    """Run a command on the controller during the body."""
    if not shutil.which(command[0]):
        raise LaboratoryError(f"{command[0]} is needed on this machine: apt install pebble")
    with (site.names.directory / "acme" / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [*network.inside(site.names), *command],
            env=os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()
