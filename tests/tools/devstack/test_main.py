"""`make run`: errors, output, and the order of the shutdown."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import IO, Self
from urllib.parse import urljoin, urlsplit

import pytest

from tests.tools.devstack.support import GATEWAY, LIMIT_S, ROOT, WORKER, limited
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.ports import LOOPBACK, can_listen, free_port
from tools.devstack.stack import WEB_GRACE_S

pytestmark = pytest.mark.integration


def test_invalid_settings_are_named_one_per_line():
    result = run_devstack({"PORT": "http", "REPLY_TIMEOUT_S": "99"})

    assert result.returncode == 1
    assert [line.partition("=")[0] for line in result.stderr.splitlines()] == [
        "PORT",
        "REPLY_TIMEOUT_S",
    ]


def test_a_taken_port_is_named():
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]

        result = run_devstack({"PORT": str(port)})

    assert result.returncode == 1
    assert f"PORT={port} is taken" in result.stderr
    assert result.stdout == ""


def test_an_unreachable_kafka_is_named():
    url = f"kafka://{LOOPBACK}:{free_port()}"

    result = run_devstack({"KAFKA_URL": url})

    assert result.returncode == 1
    assert url in result.stderr
    assert "connection refused" in result.stderr


def test_servers_only_prints_settings_and_ends_on_ctrl_c():
    stack = subprocess.Popen(
        [sys.executable, "-m", "tools.devstack", "--servers-only"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=clean_environment({}),
    )
    with limited(stack), stack:
        assert stack.stdout is not None
        lines = [stack.stdout.readline().strip().partition("=") for _ in range(4)]
        settings = {name: value for name, _, value in lines}
        redis_port = int(settings["REDIS_URL"].removesuffix("/0").rpartition(":")[2])
        answered = EmbeddedRedis(redis_port).answers()

        stack.send_signal(signal.SIGINT)

    assert answered
    assert sorted(settings) == ["KAFKA_FETCH_MAX_WAIT_MS", "KAFKA_URL", "REDIS_URL", "SECRET_KEY"]
    assert stack.returncode == 0
    assert not EmbeddedRedis(redis_port).answers()


def test_the_printed_request_works_and_ctrl_c_stops_everything():
    ports = free_ports(3)
    with RunningStack(ROOT, METRICS_PORT=str(ports[0])) as stack:
        curl, show_headers, url, data, body = shlex.split(stack.read_until("curl "))
        with urllib.request.urlopen(url, body.encode(), LIMIT_S) as response:
            echoed = response.read()
        printed = "".join(stack.lines)
        for path in ("/", "/live", "/docs"):
            assert f"http://{urlsplit(url).netloc}{path} " in printed
            with urllib.request.urlopen(urljoin(url, path), timeout=LIMIT_S) as response:
                assert response.status == 200
        for name, port in zip(("web", "replies", "responder"), ports, strict=True):
            address = f"http://{LOOPBACK}:{port}/metrics"
            assert f"{address} of {name}\n" in printed
            with urllib.request.urlopen(address, timeout=LIMIT_S) as response:
                assert b"rendezvous_build_info" in response.read()
        shown = stack.read_until("POST   /echo")

        stack.interrupt()

    assert (curl, show_headers, data) == ("curl", "-i", "-d")
    assert echoed == b"hello"
    assert stack.returncode == 0
    assert stack.took_s < 10
    assert "Traceback" not in "".join(stack.lines)
    assert sum("curl " in line for line in stack.lines) == 1
    assert re.match(r"web +\| [0-9:]{8} POST   /echo +200 +\d+ ms  [0-9a-f]{8}\.", shown)
    assert "\x1b" not in "".join(stack.lines)
    # At the end, what was requested since it was ready.
    assert re.search(r"\n4 requests; .*\n(  GET .*\n)+  POST /echo +1  p50 ", "".join(stack.lines))


def free_ports(number: int) -> list[int]:
    """Return consecutive free ports."""
    found: list[int] = []
    while not found or not all(can_listen(LOOPBACK, port) for port in found):
        first = free_port()
        found = list(range(first, first + number))
    return found


def test_the_gateway_is_stopped_first(tmp_path: Path):
    project(tmp_path, web="python front.py", replies="python back.py")
    with RunningStack(tmp_path) as stack:
        stack.read_until("curl ")
        stack.interrupt()

    terminated = [line.split()[0] for line in stack.lines if line.endswith("| terminated\n")]
    assert terminated == ["web", "replies"]


def test_a_process_that_ends_by_itself_stops_everything(tmp_path: Path):
    project(tmp_path, web="python front.py", replies="sh -c 'exit 7'")
    with RunningStack(tmp_path) as stack:
        stack.read_until("replies ended by itself: exit code 7")

    assert stack.returncode == 1


def test_a_second_ctrl_c_kills_immediately(tmp_path: Path):
    project(tmp_path, web="python front.py stubborn")
    with RunningStack(tmp_path) as stack:
        stack.read_until("curl ")
        stack.interrupt()
        stack.read_until("terminated")
        stack.interrupt()

    assert stack.took_s < WEB_GRACE_S
    assert stack.returncode == 0


class RunningStack:
    """`make run` in *folder*, its output, and the time from the last Ctrl-C to its end."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.lines: list[str] = []
        self.took_s = 0.0
        self._interrupted_s = 0.0
        env = {"PORT": str(free_port()), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools.devstack"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=clean_environment(env | settings),
        )

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def read_until(self, text: str) -> str:
        with limited(self._process):
            for line in self._output:
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"{text!r} not printed: {''.join(self.lines)}")

    def interrupt(self) -> None:
        self._interrupted_s = time.monotonic()
        self._process.send_signal(signal.SIGINT)

    @property
    def _output(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._process.kill()
        with limited(self._process), self._process:
            self.lines += self._output
        self.took_s = time.monotonic() - self._interrupted_s


def project(folder: Path, **processes: str) -> None:
    lines = [f"{name}: {command}\n" for name, command in processes.items()]
    (folder / "Procfile").write_text("".join(lines))
    (folder / "front.py").write_text(GATEWAY)
    (folder / "back.py").write_text(WORKER)
    (folder / "routes.toml").write_text('[[route]]\npath = "/echo"\ntopic = "echo"\n')


def clean_environment(env: dict[str, str]) -> dict[str, str]:
    ours = ("KAFKA_", "REDIS_", "REPLY_", "REPLIES_", "SECRET_KEY", "PORT", "ROUTES_FILE")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return rest | env


def run_devstack(env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tools.devstack"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=clean_environment(env),
        timeout=60,
        check=False,
    )
