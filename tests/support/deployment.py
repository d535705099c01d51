"""Deployment: replicas of the three processes on one Kafka and one Redis."""

import http.client
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from settings import Settings
from tools.devstack.kafka.embedded import FETCH_MAX_WAIT_MS, EmbeddedBroker
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import read_procfile, start_process
from tools.devstack.process.server import Server
from tools.devstack.readiness import ECHO, GatewayProbe
from tools.devstack.waiting import wait_until

READY_LIMIT_S = 60.0
PROCFILE = read_procfile(Path("Procfile"))
#: Options of a Deployment without Redis, for env and replies.
NO_REDIS_ENV, NO_REPLIES = {"REDIS_URL": ""}, 0
#: The summary of a gateway process with LOG_FORMAT=json: its id, and its replies by their way.
_WAYS = re.compile(r'"pid": (\d+), "event": "replies so far: (\d+) straight from Kafka, (\d+)')


@dataclass
class Response:
    """An HTTP response with its body."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    elapsed_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def correlation_id(self) -> str:
        return self.headers["X-Correlation-ID"]


@dataclass
class Process:
    """A process of the Procfile and its log."""

    name: str
    child: Child
    log: Path

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass
class Gateway(Process):
    """A gateway replica and its port."""

    port: int

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Response:
        """Send one request over a new connection."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=timeout_s)
        try:
            return exchange(connection, method, path, body, headers)
        finally:
            connection.close()

    def post(self, path: str, body: bytes = b"", **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request("POST", path, body, named)

    def get(self, path: str) -> Response:
        return self.request("GET", path)

    def fetch(self, correlation_id: str) -> Response:
        """Fetch a reply, which may have come straight and be stored a little later."""
        return self.request("GET", f"/replies/{correlation_id}", None, {"Prefer": "wait=5"})

    def responds(self, path: str = "/livez") -> bool:
        """Return whether GET *path* is answered with 200."""
        try:
            return self.get(path).status == 200
        except OSError:
            return False

    def replies_by_way(self) -> tuple[int, int]:
        """Return how many replies came straight and through Redis; needs LOG_FORMAT=json."""
        last = {pid: (int(a), int(b)) for pid, a, b in _WAYS.findall(self.logged())}
        return sum(a for a, _ in last.values()), sum(b for _, b in last.values())

    def worker_pids(self) -> list[int]:
        """Return the process ids of the running gunicorn workers."""
        marker = "Booting worker with pid: "
        lines = [line for line in self.logged().splitlines() if marker in line]
        return [pid for line in lines if _exists(pid := int(line.rpartition(marker)[2]))]


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Send one request over *connection* and return the response."""
    started_s = time.monotonic()
    connection.request(method, path, body, dict(headers or {}))
    received = connection.getresponse()
    content = received.read()
    elapsed_s = time.monotonic() - started_s
    return Response(received.status, received.headers, content, elapsed_s)


@dataclass
class Deployment:
    """
    Replicas of the three processes with topics of their own; the ``with`` block stops them.

    Args:
        gateways: number of gateways; replies and responders likewise.
        env: settings of all processes.
        web: command that starts a gateway.
        topics: names of topics beside those of the Procfile's routes, without the prefix.
        key: API key of readiness requests, if the gateways require one.
    """

    kafka: Server
    redis: Server
    folder: Path
    gateways: int = 1
    replies: int = 1
    responders: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    web: str = PROCFILE["web"]
    topics: tuple[str, ...] = ()
    partitions: int = 4
    key: str = ""

    def __post_init__(self) -> None:
        self.prefix = f"t{secrets.token_hex(4)}."
        self.secret_key = secrets.token_hex(32)
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        try:
            names = [self.prefix + topic for topic in ("echo", "orders", "replies", *self.topics)]
            create_topics(self.settings.kafka_connection(), names, self.partitions)
            for _ in range(self.replies):
                self.start("replies")
            for _ in range(self.responders):
                self.start("responder")
            for _ in range(self.gateways):
                self.start_gateway()
            self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.child.terminate()
        for process in self.processes:
            process.child.stop(10)

    @property
    def environment(self) -> dict[str, str]:
        env = {
            "KAFKA_URL": self.kafka.url,
            "KAFKA_PREFIX": self.prefix,
            "REDIS_URL": self.redis.url,
            "SECRET_KEY": self.secret_key,
        }
        if isinstance(self.kafka, EmbeddedBroker):
            env["KAFKA_FETCH_MAX_WAIT_MS"] = str(FETCH_MAX_WAIT_MS)
        return env | dict(self.env)

    @property
    def settings(self) -> Settings:
        return Settings.from_env(self.environment)

    @property
    def gateway(self) -> Gateway:
        return self.all_gateways[0]

    @property
    def all_gateways(self) -> list[Gateway]:
        return [process for process in self.processes if isinstance(process, Gateway)]

    def named(self, name: str) -> list[Process]:
        """Return the processes of this name, in the order of their start."""
        return [process for process in self.processes if process.name == name]

    def start(self, name: str, command: str = "", **env: str) -> Process:
        """Start a process; *command* and *env* replace or extend those of the Procfile."""
        log = self.folder / f"{name}-{len(self.processes)}.log"
        child = start_process(command or PROCFILE[name], self.environment | env, log)
        process = Process(name, child, log)
        self.processes.append(process)
        return process

    def start_gateway(self, **env: str) -> Gateway:
        """Start a gateway, on a free port unless *env* has PORT."""
        port = int(env.setdefault("PORT", str(free_port())))
        process = self.start("web", self.web, **env)
        gateway = Gateway(process.name, process.child, process.log, port)
        self.processes[-1] = gateway
        return gateway

    def wait_until_ready(self) -> None:
        """Return when every worker of every gateway is ready and gets replies."""
        settings = self.settings
        for gateway in self.all_gateways:
            path = ECHO if self.responders else None
            workers = settings.web_concurrency
            timeout_s = settings.reply_timeout_s
            probe = GatewayProbe(gateway.port, path, workers, timeout_s, self.key)
            ready = wait_until(probe.is_ready, READY_LIMIT_S)
            assert ready, f"{probe.problem}\n{self.logs()}"

    def pids(self) -> list[int]:
        """Return the ids of all processes, gunicorn's workers included."""
        workers = [pid for gateway in self.all_gateways for pid in gateway.worker_pids()]
        return [process.child.pid for process in self.processes] + workers

    def logs(self) -> str:
        """Return the end of each log, for messages of failed assertions."""
        return "\n".join(f"== {p.log.name}\n{p.logged()[-3000:]}" for p in self.processes)


#: Makes a Deployment; takes its arguments except servers and folder.
Deploy = Callable[..., Deployment]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
