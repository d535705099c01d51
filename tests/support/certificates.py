"""Certificates for the servers of the tests, made by openssl."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

DAYS = "2"


def require_openssl() -> None:
    """Skip the test where there is no openssl; in CI that is a failure."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("openssl is not on PATH")
        pytest.skip("openssl is not on PATH")


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own; ``pem`` is what its clients have to trust."""

    folder: Path
    name: str

    @classmethod
    def make(cls, folder: Path, name: str) -> "Authority":
        """Return a new one, which keeps its files in *folder*."""
        made = cls(folder, name)
        arguments = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", DAYS]
        files = ["-keyout", str(made._key), "-out", str(made.file)]
        # Python 3.13 asks for what RFC 5280 does.
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        _openssl("req", *arguments, *files, *usage, "-subj", f"/CN={name}")
        return made

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.crt"

    @property
    def pem(self) -> str:
        return self.file.read_text(encoding="ascii")

    def issue(self, name: str, *alternatives: str) -> Path:
        """
        Return a file with a new key, its certificate, and ours: a keystore, as Kafka reads it.

        Args:
            name: of the one it is for.
            alternatives: what it may be called, as openssl has it: IP:127.0.0.1, DNS:localhost.
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
        _openssl("x509", "-req", "-in", str(request), "-out", str(issued), "-days", DAYS,
                 "-CA", str(self.file), "-CAkey", str(self._key), "-CAcreateserial",
                 "-extfile", str(extensions))  # fmt: skip
        keystore = self.folder / f"{name}.pem"
        parts = [file.read_text(encoding="ascii") for file in (key, issued, self.file)]
        keystore.write_text("".join(parts), encoding="ascii")
        return keystore

    @property
    def _key(self) -> Path:
        return self.folder / f"{self.name}.key"


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
