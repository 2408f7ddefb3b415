"""Makes certificates by an authority of one's own: ``certificates.py DIRECTORY NAME=ADDRESS...``.

In DIRECTORY are the authority (``ca.key``, ``ca.pem``), made where it is not there, and
``certificates.yml``: for each NAME, which is ledger, broker or proxy, the variables
``NAME_tls_certificate`` and ``NAME_tls_key``, for the addresses or names, with commas between, by
which the server is reached, and ``NAME_tls_ca`` where the playbooks bring it to those who call.
What it prints is no secret: until when they are valid, as JSON.

They have what RFC 5280 demands and OpenSSL's X509_V_FLAG_X509_STRICT asks for, Python 3.13's
default: the authority's constraints are critical, each has its uses and the identifiers of keys.
"""

import datetime as dt
import ipaddress
import json
import os
import re
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: An authority outlives its certificates; those are for as long as browsers once took them.
AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 825
#: A clock may be slow.
_EARLIER = dt.timedelta(hours=1)
_GIVEN = re.compile(r"(ledger|broker|proxy)=(\S+)")

Key = ec.EllipticCurvePrivateKey


def main(directory: Path, *wanted: str) -> None:
    """Make certificates, or exit with one line that says why not."""
    given = [match.groups() for text in wanted if (match := _GIVEN.fullmatch(text))]
    if not given or len(given) < len(wanted):
        sys.exit("certificates.py DIRECTORY NAME=ADDRESS...: each NAME is ledger, broker or proxy")
    directory.mkdir(parents=True, exist_ok=True)
    authority, key = _authority(directory)
    variables, until = {}, {"authority": str(authority.not_valid_after_utc)}
    for name, address in given:
        certificate, own = _signed(authority, key, name, address)
        until[name] = str(certificate.not_valid_after_utc)
        if name != "proxy":
            variables[f"{name}_tls_ca"] = _pem(authority)
        variables[f"{name}_tls_certificate"] = _pem(certificate)
        variables[f"{name}_tls_key"] = _key_pem(own)
    (directory / "certificates.yml").write_text("---\n" + "".join(map(_yaml, variables.items())))
    print(json.dumps(until))  # noqa: T201 - a command line prints


def _authority(directory: Path) -> tuple[x509.Certificate, Key]:
    """Return what signs, made where it is not there; both files are, or none is."""
    certificate, secret = directory / "ca.pem", directory / "ca.key"
    if certificate.exists() != secret.exists():
        lacking = secret if certificate.exists() else certificate
        sys.exit(f"{lacking} is missing: bring it back, or take the other away for a new authority")
    if not secret.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AI Admin authority")])
        built = _builder(name, name, key.public_key(), AUTHORITY_DAYS, is_authority=True)
        secret.write_text(_key_pem(key))
        certificate.write_text(_pem(built.sign(key, hashes.SHA256())))
    found = serialization.load_pem_private_key(secret.read_bytes(), password=None)
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        sys.exit(f"{secret} is not of an elliptic curve: take both away for a new authority")
    return x509.load_pem_x509_certificate(certificate.read_bytes()), found


def _signed(
    authority: x509.Certificate, key: Key, name: str, address: str
) -> tuple[x509.Certificate, Key]:
    own = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"AI Admin {name}")])
    issuer = authority.subject
    built = _builder(subject, issuer, own.public_key(), CERTIFICATE_DAYS, is_authority=False)
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for extension in (
        x509.SubjectAlternativeName([_general(each) for each in address.split(",")]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
    ):
        built = built.add_extension(extension, critical=False)
    return built.sign(key, hashes.SHA256()), own


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    days: int,
    *,
    is_authority: bool,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    uses |= {"encipher_only": False, "decipher_only": False, "digital_signature": not is_authority}
    uses |= {"key_cert_sign": is_authority, "crl_sign": is_authority}
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
            critical=True,
        )
        .add_extension(x509.KeyUsage(**uses), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: Key) -> str:
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def _yaml(variable: tuple[str, str]) -> str:
    name, text = variable
    return f"{name}: |\n" + "".join(f"  {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(__doc__)
    os.umask(0o077)
    main(Path(sys.argv[1]), *sys.argv[2:])
