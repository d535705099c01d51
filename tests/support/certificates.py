"""Certificates for test servers, issued with openssl."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

DAYS = "2"
#: In place of a number of days: the certificate has expired.
EXPIRED = "-1"


def require_openssl() -> None:
    """Skip the test if openssl is missing; in CI it fails instead."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is not on PATH")
        pytest.skip("openssl is not on PATH")


@dataclass(frozen=True)
class Authority:
    """A test certificate authority; ``pem`` is its certificate."""

    folder: Path
    name: str

    @classmethod
    def make(cls, folder: Path, name: str) -> "Authority":
        """Return a new authority with its files in *folder*."""
        authority = cls(folder, name)
        arguments = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS]
        files = ["-keyout", str(authority._key), "-out", str(authority.file)]
        # Required by RFC 5280, and checked from Python 3.13 on.
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        _openssl("req", *arguments, *files, *usage, "-subj", f"/CN={name}")
        return authority

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.crt"

    @property
    def pem(self) -> str:
        return self.file.read_text(encoding="ascii")

    def issue(self, name: str, *alternatives: str, days: str = DAYS) -> Path:
        """
        Return a PEM keystore as Kafka reads it: a new key, its certificate, the authority's.

        Args:
            name: common name of the certificate.
            alternatives: its alternative names in openssl's form: IP:127.0.0.1, DNS:localhost.
            days: from now until it expires; EXPIRED for the past.
        """
        key, request, issued = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        subject = ["-subj", f"/CN={name}"]
        _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key),
                 "-out", str(request), *subject)  # fmt: skip
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={','.join(alternatives)}\nauthorityKeyIdentifier=keyid\n",
            encoding="ascii",
        )
        _openssl("x509", "-req", "-in", str(request), "-out", str(issued), *_validity(days),
                 "-CA", str(self.file), "-CAkey", str(self._key), "-CAcreateserial",
                 "-extfile", str(extensions))  # fmt: skip
        keystore = self.folder / f"{name}.pem"
        parts = [file.read_text(encoding="ascii") for file in (key, issued, self.file)]
        keystore.write_text("".join(parts), encoding="ascii")
        return keystore

    @property
    def _key(self) -> Path:
        return self.folder / f"{self.name}.key"


def _validity(days: str) -> list[str]:
    if days != EXPIRED:
        return ["-days", days]
    version = subprocess.run(["openssl", "version"], check=True, capture_output=True, text=True)
    # OpenSSL 3.6 refuses negative days; the others came with 3.4.
    if tuple(map(int, version.stdout.split()[1].split(".")[:2])) < (3, 4):
        return ["-days", "-1"]
    return ["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
