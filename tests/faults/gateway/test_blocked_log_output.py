"""Logs that cannot be written: nobody reads the pipe, or the disk is full. Requests go on."""

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

pytestmark = [
    pytest.mark.faults,
    on_embedded_broker,
]

REQUESTS = 2_000
#: Together more than waits to be written; each is a line of the access log.
FLOOD, LONG = 600, "/livez?" + 3_000 * "x"
BOMB = json.dumps({"item": "bomb", "quantity": 1}).encode()
TOLD = re.compile(rb"faster than they could be written: (\d+)\n")


class Pipe:
    """A pipe with a name, which is full until it is read."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # For both: so nobody waits for the other end, and there always is one.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._read = b""

    def fill(self) -> None:
        try:
            while True:
                os.write(self._fd, b"." * 4096)
        except BlockingIOError:
            pass

    def read(self) -> bytes:
        """Return everything that has come so far."""
        try:
            while data := os.read(self._fd, 65_536):
                self._read += data
        except BlockingIOError:
            pass
        return self._read

    def close(self) -> None:
        os.close(self._fd)


def start_all(deployment: Deployment, sinks: dict[str, Path]) -> Gateway:
    """Start one process of each kind, with its output in its sink."""
    commands = {name: f"exec {PROCFILE[name]} >{sink} 2>&1" for name, sink in sinks.items()}
    deployment.start("replies", commands["replies"])
    deployment.start("responder", commands["responder"])
    deployment.web = commands["web"]
    gateway = deployment.start_gateway()
    deployment.wait_until_ready()
    return gateway


def work(deployment: Deployment, gateway: Gateway) -> None:
    """Make each process log, and see that requests are answered as ever."""
    with ReplyTopic(deployment) as replies:
        replies.put("no id of ours", b"x")
        replies.flush()
    with Load([gateway], clients=8) as load:
        load.wait_for(20)
        bombs = [gateway.post("/orders", BOMB).status for _ in range(20)]
        flood = [gateway.get(LONG).status for _ in range(FLOOD)]
        load.wait_for(REQUESTS)
    assert set(load.outcomes) == {OWN}
    assert load.slowest_s < 3
    assert set(bombs) == {500}
    assert set(flood) == {200}


def test_requests_are_answered_while_nobody_reads_the_logs(deploy: Deploy, tmp_path: Path):
    pipes = {name: Pipe(tmp_path / f"{name}.pipe") for name in PROCFILE}
    env = {"WEB_CONCURRENCY": "1"}
    with deploy(gateways=0, replies=0, responders=0, env=env) as deployment:
        gateway = start_all(deployment, {name: pipe.path for name, pipe in pipes.items()})
        for pipe in pipes.values():
            pipe.fill()
        work(deployment, gateway)

        assert wait_until(lambda: TOLD.search(pipes["web"].read()) is not None, 10)
        assert wait_until(lambda: b"bomb" in pipes["responder"].read(), 10)
        assert wait_until(lambda: b" skipped: " in pipes["replies"].read(), 10)
        # What was lost, and what was not, is all there was.
        told = [int(lines) for lines in TOLD.findall(pipes["web"].read())]
        written = pipes["web"].read().count(b'"GET /livez?')
        assert 0 < sum(told) < REQUESTS + FLOOD + 200
        assert 0 < written < FLOOD
        gateway.get("/livez?once-more")
        assert wait_until(lambda: b"/livez?once-more" in pipes["web"].read(), 10)
    for pipe in pipes.values():
        pipe.close()


def test_requests_are_answered_while_the_disk_of_the_logs_is_full(
    deploy: Deploy,
):
    with deploy(gateways=0, replies=0, responders=0, env={"WEB_CONCURRENCY": "1"}) as deployment:
        gateway = start_all(deployment, dict.fromkeys(PROCFILE, Path("/dev/full")))
        work(deployment, gateway)

        assert [process.child.stop(15) for process in deployment.processes] == [0, 0, 0]
