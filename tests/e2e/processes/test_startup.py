"""A start that cannot succeed says why, in lines and not in a traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import PROCFILE

pytestmark = pytest.mark.e2e

GOOD = {
    "KAFKA_URL": "kafka://127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "0123456789abcdef",
}


def start(name: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a process of the Procfile to its end."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        PROCFILE[name].split(),
        env={"PATH": path, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("name", PROCFILE)
def test_a_missing_setting_is_named(name: str):
    ended = start(name)

    assert ended.returncode == 1
    assert "KAFKA_URL is not set" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", PROCFILE)
def test_all_wrong_settings_are_named_at_once(name: str):
    ended = start(name, **{**GOOD, "PORT": "http", "REPLY_TIMEOUT_S": "40", "SECRET_KEY": "short"})

    assert ended.returncode == 1
    assert "PORT=http: expected a whole number from 1 to 65535" in ended.stderr
    assert "REPLY_TIMEOUT_S=40: expected" in ended.stderr
    assert "SECRET_KEY=***: expected" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = start("web", **GOOD, PORT=port)

    assert ended.returncode == 1
    assert f"PORT={port} cannot be listened on: Address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_faulty_routes_file_is_told_with_its_fault(tmp_path: Path):
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\npath = "orders"\ntopic = "orders"\n')
    ended = start("web", **GOOD, ROUTES_FILE=str(routes))

    assert ended.returncode == 1
    assert "path='orders': expected a path that starts with '/'" in ended.stderr
    assert "Traceback" not in ended.stderr
