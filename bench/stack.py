"""Everything that is measured, side by side on one Kafka and one Redis."""

import http.client
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from redis import Redis

from bench.floor import Floor
from bench.measure import Costs, Result, with_floor, with_wrk
from devstack.apache_kafka import ApacheKafka
from devstack.child import Child
from devstack.ports import LOOPBACK, free_port
from devstack.proc import children_of
from devstack.procfile import start_process
from devstack.topics import create_topics
from devstack.valkey import EmbeddedRedis
from devstack.waiting import wait_until

SUBJECTS = ("floor", "naive", "ours", "ours-broadcast")
TOPICS = ("echo", "orders", "replies", "broadcast-replies", "naive-replies", "floor-replies")
READY_LIMIT_S = 60.0
NAIVE = "gunicorn -k gthread --threads 72 --worker-connections 1000 bench.naive_gateway:app"


class Bench:
    """
    The floor, the naive gateway and ours in each reply mode, with one responder for all.

    Args:
        workers: gunicorn workers of each gateway.
        logs: the folder for the output of the processes.
    """

    def __init__(self, workers: int, logs: Path) -> None:
        self._workers = workers
        self._logs = logs
        self._stack = ExitStack()
        self._processes: dict[str, Child] = {}
        self._ports = {name: free_port() for name in SUBJECTS[1:]}

    def __enter__(self) -> Self:
        self._kafka = self._stack.enter_context(ApacheKafka(java_options=("-Xms512m", "-Xmx1g")))
        self._server = self._stack.enter_context(EmbeddedRedis())
        self._redis = self._stack.enter_context(Redis.from_url(self._server.url))
        connection = {"bootstrap_servers": [self._kafka.address]}
        create_topics(connection, TOPICS)
        self._start("responder", "python -m responder")
        self._start_ours("ours", REPLIES_MODE="group")
        self._start_ours(
            "ours-broadcast", REPLIES_MODE="broadcast", REPLY_TOPIC="broadcast-replies"
        )
        naive = {"NAIVE_REQUESTS": "echo", "NAIVE_REPLIES": "naive-replies"}
        self._start("naive replies", "python -m bench.naive_replies", **naive)
        bind = f" -b {LOOPBACK}:{self._ports['naive']} -w {self._workers} -c /dev/null"
        self._start("naive web", NAIVE + bind, **naive)
        self._floor = Floor(connection, "echo", "floor-replies")
        self._stack.callback(self._floor.close)
        for name, port in self._ports.items():
            if not wait_until(lambda: _echoes(port), READY_LIMIT_S):  # noqa: B023
                sys.exit(f"{name} does not answer; its log is in {self._logs}")
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._processes.values():
            child.terminate()
        for child in self._processes.values():
            child.stop(10)
        self._stack.close()

    def measure(
        self, subject: str, connections: int, body_bytes: int, duration_s: float, number: int
    ) -> Result:
        """Measure one subject for *duration_s*."""
        costs = Costs(self._pids(subject), self._redis)
        if subject == "floor":
            seen = with_floor(self._floor.run, connections, body_bytes, duration_s)
        else:
            url = f"http://{LOOPBACK}:{self._ports[subject]}/echo"
            seen = with_wrk(url, connections, body_bytes, duration_s)
        return Result(subject, connections, body_bytes, number, **seen, **costs.since())

    def _pids(self, subject: str) -> Mapping[str, list[int]]:
        pids = {
            "kafka": [self._kafka.pid],
            "redis": [self._server.pid],
            "responder": children_of(self._processes["responder"].pid),
        }
        for part in ("web", "replies"):
            child = self._processes.get(f"{subject} {part}")
            if child is not None:
                pids[part] = children_of(child.pid)
        return pids

    def _start_ours(self, name: str, **env: str) -> None:
        env |= {
            "SECRET_KEY": secrets.token_hex(32),
            "PORT": str(self._ports[name]),
            "WEB_CONCURRENCY": str(self._workers),
            "THREADS": "300",
            "REPLY_TIMEOUT_S": "10",
        }
        self._start(f"{name} replies", "python -m replies", **env)
        self._start(f"{name} web", "gunicorn wsgi:app", **env)

    def _start(self, name: str, command: str, **env: str) -> None:
        servers = {"KAFKA_URL": self._kafka.url, "REDIS_URL": self._server.url}
        log = self._logs / f"{name.replace(' ', '-')}.log"
        self._processes[name] = start_process(command, servers | env, log)


def _echoes(port: int) -> bool:
    """Say whether the gateway on *port* answers several times in a row: each worker has to."""
    for _ in range(20):
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=15)
        try:
            connection.request("POST", "/echo", b"ready?")
            response = connection.getresponse()
            if (response.status, response.read()) != (200, b"ready?"):
                return False
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
    return True
