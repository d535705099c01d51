"""Requests are served while log output blocks (full pipe) or fails (full disk)."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.support.brokers import on_embedded_broker
from tests.support.deployment import PROCFILE, Deploy, Deployment, Gateway
from tests.support.load import OWN, Load
from tests.support.reply_topic import ReplyTopic
from tools.devstack.waiting import wait_until

pytestmark = [pytest.mark.faults, on_embedded_broker]

REQUESTS = 2_000
#: Requests with long access log lines, together above the size of the log queue.
FLOOD, LONG_PATH = 600, "/livez?" + 3_000 * "x"
BOMB = json.dumps({"item": "bomb", "quantity": 1}).encode()
DROPPED = re.compile(rb"faster than they could be written: (\d+)\n")


class Pipe:
    """A named pipe that can be filled, and read later."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # Open for reading and writing, so that neither end blocks or fails without the other.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._read = b""

    def fill(self) -> None:
        try:
            while True:
                os.write(self._fd, b"." * 4096)
        except BlockingIOError:
            pass

    def read(self) -> bytes:
        """Return everything read so far."""
        try:
            while data := os.read(self._fd, 65_536):
                self._read += data
        except BlockingIOError:
            pass
        return self._read

    def close(self) -> None:
        os.close(self._fd)


def start_all(deployment: Deployment, sinks: dict[str, Path]) -> Gateway:
    """Start one process of each kind, with its output in a sink."""
    commands = {name: f"exec {PROCFILE[name]} >{sink} 2>&1" for name, sink in sinks.items()}
    deployment.start("replies", commands["replies"])
    deployment.start("responder", commands["responder"])
    deployment.web = commands["web"]
    gateway = deployment.start_gateway()
    deployment.wait_until_ready()
    return gateway


def log_and_serve(deployment: Deployment, gateway: Gateway) -> None:
    """Make each process write log lines; assert that requests are answered as usual."""
    with ReplyTopic(deployment) as replies:
        replies.put("not an id", b"x")
        replies.flush()
    with Load([gateway], clients=8) as load:
        load.wait_for(20)
        bombs = [gateway.post("/orders", BOMB).status for _ in range(20)]
        flood = [gateway.get(LONG_PATH).status for _ in range(FLOOD)]
        load.wait_for(REQUESTS)
    assert set(load.outcomes) == {OWN}
    assert load.slowest_s < 3
    assert set(bombs) == {500}
    assert set(flood) == {200}


def test_requests_are_answered_while_the_log_pipe_is_full(deploy: Deploy, tmp_path: Path):
    pipes = {name: Pipe(tmp_path / f"{name}.pipe") for name in PROCFILE}
    env = {"WEB_CONCURRENCY": "1"}
    with deploy(gateways=0, replies=0, responders=0, env=env) as deployment:
        gateway = start_all(deployment, {name: pipe.path for name, pipe in pipes.items()})
        for pipe in pipes.values():
            pipe.fill()
        log_and_serve(deployment, gateway)

        assert wait_until(lambda: DROPPED.search(pipes["web"].read()) is not None, 10)
        assert wait_until(lambda: b"bomb" in pipes["responder"].read(), 10)
        assert wait_until(lambda: b" skipped: " in pipes["replies"].read(), 10)
        # Some lines were dropped, and their number logged.
        dropped = [int(lines) for lines in DROPPED.findall(pipes["web"].read())]
        written = pipes["web"].read().count(b'"GET /livez?')
        assert 0 < sum(dropped) < REQUESTS + FLOOD + 200
        assert 0 < written < FLOOD
        gateway.get("/livez?again")
        assert wait_until(lambda: b"/livez?again" in pipes["web"].read(), 10)
    for pipe in pipes.values():
        pipe.close()


def test_requests_are_answered_while_the_log_disk_is_full(deploy: Deploy):
    with deploy(gateways=0, replies=0, responders=0, env={"WEB_CONCURRENCY": "1"}) as deployment:
        gateway = start_all(deployment, dict.fromkeys(PROCFILE, Path("/dev/full")))
        log_and_serve(deployment, gateway)

        assert [process.child.stop(15) for process in deployment.processes] == [0, 0, 0]
