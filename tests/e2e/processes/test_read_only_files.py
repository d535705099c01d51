"""The processes start with a client certificate where no file system can be written."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Authority, require_openssl
from tests.support.deployment import PROCFILE
from tools.devstack.ports import free_port

pytestmark = pytest.mark.e2e

#: Runs its arguments with a read-only root, in a namespace of its own.
READ_ONLY = ["unshare", "-rm", "sh", "-c", 'mount -o remount,ro,bind / && exec "$@"', "sh"]
#: No broker listens there: a process that gets so far reports it.
KAFKA_URL = "kafka+ssl://127.0.0.1:1"
REFUSED = f"KAFKA_URL={KAFKA_URL}: 127.0.0.1:1: connection refused"


def can_be_read_only() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = [*READ_ONLY, "touch", "/tmp/written"]
    return b"Read-only" in subprocess.run(probe, capture_output=True, check=False).stderr


needs_namespaces = pytest.mark.skipif(
    not can_be_read_only(), reason="this user cannot mount a root that is read-only"
)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    require_openssl()
    authority = Authority.make(tmp_path_factory.mktemp("authority"), "authority")
    keystore = authority.issue("client", "DNS:client")
    key, _, certificate = keystore.read_text().partition("-----BEGIN CERTIFICATE-----")
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONUNBUFFERED": "1",
        "PORT": str(free_port()),
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184",
        "KAFKA_URL": KAFKA_URL,
        "KAFKA_CLIENT_CERT": "-----BEGIN CERTIFICATE-----" + certificate,
        "KAFKA_CLIENT_CERT_KEY": key,
    }


def command_of(name: str) -> list[str]:
    return ["sh", "-c", f"exec {PROCFILE[name]}"]


def output_of(argv: list[str], env: dict[str, str], limit_s: float = 8.0) -> str:
    """Return what a process prints until it ends, or for *limit_s*; then it is terminated."""
    command = ["timeout", "--kill-after=5", str(limit_s), *argv]
    run = subprocess.run(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return run.stdout


@needs_namespaces
@pytest.mark.parametrize("name", PROCFILE)
def test_a_client_certificate_works_on_a_read_only_file_system(name: str, env: dict[str, str]):
    output = output_of([*READ_ONLY, *command_of(name)], env)

    assert "Traceback" not in output
    assert REFUSED in output or "Booting worker" in output


@pytest.mark.parametrize("name", ["replies", "responder"])
def test_without_any_writable_memory_one_line_says_what_is_missing(name: str, env: dict[str, str]):
    def forbid_writing() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # of files; pipes are none

    ended = subprocess.run(
        command_of(name), env=env, capture_output=True, text=True, timeout=30,
        preexec_fn=forbid_writing, check=False,
    )  # fmt: skip

    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("KAFKA_CLIENT_CERT cannot be written to a file for OpenSSL (")
    assert line.endswith("set TMPDIR to a folder that can be written")
