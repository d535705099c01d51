"""Startup errors: each names its cause, without a traceback."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import PROCFILE

pytestmark = pytest.mark.e2e

VALID = {
    "KAFKA_URL": "kafka://127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184",
}


def start(name: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a process of the Procfile until it exits."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", "-c", PROCFILE[name]],
        env={"PATH": path, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("name", PROCFILE)
def test_a_missing_setting_is_named(name: str):
    exited = start(name)

    assert exited.returncode == 1
    assert "KAFKA_URL is not set" in exited.stderr
    assert "Traceback" not in exited.stderr


@pytest.mark.parametrize("name", PROCFILE)
def test_all_invalid_settings_are_named_at_once(name: str):
    exited = start(
        name, **{**VALID, "PORT": "http", "REPLY_TIMEOUT_S": "40", "SECRET_KEY": "short"}
    )

    assert exited.returncode == 1
    assert "PORT=http: expected a whole number from 1 to 65535" in exited.stderr
    assert "REPLY_TIMEOUT_S=40: expected" in exited.stderr
    assert "SECRET_KEY=***: expected" in exited.stderr
    assert "Traceback" not in exited.stderr


def test_a_port_in_use_is_named():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        exited = start("web", **VALID, PORT=port)

    assert exited.returncode == 1
    assert f"PORT={port} cannot be listened on: Address already in use" in exited.stderr
    assert "Traceback" not in exited.stderr


def test_an_invalid_routes_file_is_reported_with_its_error(tmp_path: Path):
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\npath = "orders"\ntopic = "orders"\n')
    exited = start("web", **VALID, ROUTES_FILE=str(routes))

    assert exited.returncode == 1
    assert "path='orders': expected a path that starts with '/'" in exited.stderr
    assert "Traceback" not in exited.stderr
