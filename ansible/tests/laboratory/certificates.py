"""An authority of the laboratory's own, and the certificates that it signs."""

from pathlib import Path

from laboratory.shell import run

_DAYS = "30"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


class Authority:
    """Signs certificates; all of it is in ``directory``, made if it is not there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = directory / "ca.key"
        self.certificate = directory / "ca.crt"
        if not self.certificate.exists():
            directory.mkdir(parents=True, exist_ok=True)
            to = ["-keyout", str(self._key), "-out", str(self.certificate), "-days", _DAYS]
            run(["openssl", "req", "-x509", *_KEY, *to, "-subj", "/CN=laboratory"])

    def sign(self, name: str, *others: str) -> tuple[str, str]:
        """Return a certificate and its key as PEM, for a name and ``others``: IP:1.2.3.4, DNS:x."""
        key, request, certificate, extra = (
            self._directory / f"{name}.{end}" for end in ("key", "csr", "crt", "ext")
        )
        run(["openssl", "req", *_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}"])
        extra.write_text(f"subjectAltName={','.join([f'DNS:{name}', *others])}\n")
        by = ["-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial"]
        for_names = ["-extfile", str(extra), "-days", _DAYS]
        run(["openssl", "x509", "-req", "-in", request, *by, *for_names, "-out", certificate])
        return certificate.read_text(), key.read_text()
