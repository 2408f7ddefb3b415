"""Certificates that are replaced while customers write."""

from laboratory.secrecy import Authority
from laboratory.stage import Stage

_AUTHORITY = "/etc/ai-admin/ledger-ca.pem"


def certificates(stage: Stage) -> None:
    """Renew every certificate; then have those of the servers by another authority."""
    inventory = stage.site.inventory
    another = Authority(inventory.authority.certificate.parent.with_name("another-authority"))
    for what, authority in (
        ("by the same authority", inventory.authority),
        ("by another", another),
    ):
        inventory.certify(authority)
        with stage.traffic(f"certificates {what}") as chapter:
            chapter.wait(2)
            stage.plays_well("site.yml", release="r1")
            chapter.wait(3)
        if stage.site.kind == "one":
            # No server is reached from another host.
            return
        for guest in stage.guests("web"):
            known = guest.ssh(f"cat {_AUTHORITY}").strip()
            wanted = authority.certificate.read_text().strip()
            stage.expect(known == wanted, f"{guest.host} knows another authority than the new one")
    stage.expect_only(stage.current())
    stage.plays_well("verify.yml")
