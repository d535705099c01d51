"""The service under attack: started as shipped, or one that is running."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tools.attack.attacks.table import Attack
from tools.attack.thread_limit import WITH_LARGE_STACKS
from tools.devstack.environment import plan_servers
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import read_procfile, start_process
from tools.devstack.process.server import Server
from tools.devstack.readiness import ECHO, GatewayProbe
from tools.devstack.waiting import wait_until

WEB = "web"
#: The topics of routes.toml and the reply topic.
TOPICS = ("echo", "orders", "replies")
READY_LIMIT_S = 60.0
STOP_GRACE_S = 15.0
#: Default settings that the readiness probe needs.
WORKERS, REPLY_TIMEOUT_S = 2, 3.0


class NotReady(Exception):
    """Raised when the service does not answer, with the reason."""


class NotLoopback(Exception):
    """Raised for a URL that is not of this machine."""


@dataclass(frozen=True)
class Tree:
    """A source tree to start the service from, and its name in the report."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Service:
    """
    A service on the loopback interface.

    Args:
        web: the gateway, if it was started here.
        api_key: of the honest clients and the readiness probe.
    """

    port: int
    web: Child | None = None
    api_key: str = ""

    @property
    def pids(self) -> list[int]:
        """Id of the gateway's master; empty when the gateway was not started here."""
        return [self.web.pid] if self.web else []

    def problem(self) -> str:
        """Return why the service does not answer; empty when it does."""
        probe = GatewayProbe(self.port, ECHO, WORKERS, REPLY_TIMEOUT_S, self.api_key)
        return "" if probe.is_ready() else probe.problem

    def wait_until_ready(self) -> None:
        """Wait; raises NotReady after READY_LIMIT_S."""
        if not wait_until(lambda: not self.problem(), READY_LIMIT_S, poll_s=0.3):
            raise NotReady(self.problem() or "the service became ready too late")


def running_service(url: str, api_key: str = "") -> Service:
    """
    Return the service at *url*.

    Raises:
        NotLoopback: for any other host than this one.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or parts.hostname not in (LOOPBACK, "localhost") or not port:
        raise NotLoopback(f"--url {url}: expected http://{LOOPBACK}:PORT; attack only what is here")
    return Service(port, api_key=api_key)


class Servers:
    """
    Kafka and Redis for one service at a time, running for the ``with`` block.

    Args:
        kafka: "embedded" or "apache".
        env: further settings of every service.
        logs: folder for the output of processes.
    """

    def __init__(self, kafka: str, env: Mapping[str, str], logs: Path) -> None:
        self._planned = plan_servers({}, kafka)
        self._env = dict(env)
        self._logs = logs
        self._started: list[Server] = []
        self._starts = 0

    def __enter__(self) -> "Servers":
        try:
            for server in self._planned.servers:
                self._started.append(server)
                server.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in reversed(self._started):
            server.stop()

    @contextmanager
    def service(self, tree: Tree, name: str, attack: Attack) -> Iterator[Service]:
        """
        Start the Procfile of *tree* with default settings and new topics; stop it afterwards.

        Args:
            name: of its logs.
            attack: has the settings that differ from the defaults.

        Raises:
            NotReady: when it does not answer.
        """
        self._starts += 1
        prefix = f"a{self._starts}-"
        address = self._planned.env["KAFKA_URL"].partition("://")[2]
        create_topics({"bootstrap_servers": [address]}, [prefix + topic for topic in TOPICS])
        port = free_port()
        settings = {
            **self._planned.env,
            "SECRET_KEY": secrets.token_hex(32),
            "KAFKA_PREFIX": prefix,
            "PORT": str(port),
            **self._env,
            **attack.env,
        }
        children: dict[str, Child] = {}
        try:
            for kind, command in read_procfile(tree.folder / "Procfile").items():
                if kind == WEB and attack.limits_threads:
                    command = f"{WITH_LARGE_STACKS} {command}"
                log = (self._logs / f"{name}-{kind}.log").absolute()
                log.unlink(missing_ok=True)
                children[kind] = start_process(command, settings, log, tree.folder)
            service = Service(port, children[WEB])
            try:
                service.wait_until_ready()
            except NotReady as error:
                raise NotReady(f"{name}: {error}; logs: {self._logs}") from error
            yield service
        finally:
            _stop(children)


def _stop(children: Mapping[str, Child]) -> None:
    for child in children.values():
        child.terminate()
    for child in children.values():
        child.stop(STOP_GRACE_S)
