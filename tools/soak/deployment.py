"""Two replicas of each process, with proxies in front of Kafka and Redis."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from redis import Redis

from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.kafka.apache import ApacheKafka, Listener
from tools.devstack.kafka.embedded import FETCH_MAX_WAIT_MS, EmbeddedBroker
from tools.devstack.kafka.topics import create_topics
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import read_procfile, start_process
from tools.devstack.process.procfs import children_of
from tools.devstack.process.server import Server
from tools.devstack.readiness import ECHO, GatewayProbe
from tools.devstack.redis_groups import ClusteredRedis, RedisGroup, WatchedRedis
from tools.devstack.waiting import wait_until
from tools.soak.faults.proxy_process import ProxyProcess
from tools.soak.faults.reply_topic import ReplyTopic
from tools.soak.ledger import Ledger
from tools.soak.load.tasks import TOPIC

REPLICAS = 2
WORKERS = 2
TIMEOUT_S = 3.0
RETENTION_S = 60.0
READY_LIMIT_S = 60.0
#: Time for gateways to answer pending requests, and for others to finish, in seconds.
STOP_GRACE_S = 12.0

#: How replies reach the gateways: REPLY_DELIVERY, or direct without any Redis.
DELIVERIES = ("direct", "store", "no-redis")

#: The Redis to start.
REDISES: Mapping[str, Callable[[], EmbeddedRedis | RedisGroup]] = {
    "single": EmbeddedRedis,
    "sentinel": WatchedRedis,
    "cluster": ClusteredRedis,
}

RESPONDER = "python -m tools.soak.load.responder"
ROUTES = Path(__file__).with_name("routes.toml")
REPLY_TOPIC = "replies"
#: In the order of their start.
PROCESSES = ("replies", "responder", "gateway")
TOPICS = ("echo", "orders", REPLY_TOPIC, TOPIC)
NO_SETTINGS: Mapping[str, str] = {}


class NotReady(Exception):
    """Raised when the deployment does not get ready, with the reason and the log folder."""


class Deployment:
    """
    The deployment under test, running for the ``with`` block.

    Args:
        kafka: "embedded" or "apache".
        mode: REPLIES_MODE.
        seed: of the tasks.
        folder: for logs and the ledger.
        env: further settings of all processes.
        timeout_s: REPLY_TIMEOUT_S.
        delivery: one of DELIVERIES; "no-redis" starts neither Redis nor replies processes.
        responder: command that starts a responder.
        topics: beside TOPICS.
        with_metrics: whether each process has a METRICS_PORT.
        redis: one of REDISES.
    """

    def __init__(
        self,
        kafka: str,
        mode: str,
        seed: int,
        folder: Path,
        env: Mapping[str, str] = NO_SETTINGS,
        timeout_s: float = TIMEOUT_S,
        delivery: str = DELIVERIES[0],
        responder: str = RESPONDER,
        topics: Sequence[str] = (),
        *,
        with_metrics: bool = False,
        redis: str = "single",
    ) -> None:
        self._responder = responder
        self._topics = (*TOPICS, *topics)
        self.seed = seed
        self.delivery = delivery
        self.timeout_s = timeout_s
        self.folder = folder
        self._stack = ExitStack()
        kafka_port, redis_port = free_port(), free_port()
        self.kafka, port_behind = _kafka(kafka, kafka_port)
        self.redis = None if delivery == "no-redis" else REDISES[redis]()
        self.proxies = {"kafka": ProxyProcess(port_behind, kafka_port)}
        if isinstance(self.redis, EmbeddedRedis):
            self.proxies["redis"] = ProxyProcess(self.redis.port, redis_port)
        self.ledger_files = [folder / "ledger.sqlite"]
        self.ports = [free_port() for _ in range(REPLICAS)]
        #: METRICS_PORT of each replica, by process.
        self.metrics_ports = {
            name: [free_port() for _ in range(REPLICAS)]
            for name in PROCESSES[self.redis is None :]
            if with_metrics
        }
        self.children: dict[str, Child] = {}
        #: Connection arguments of kafka-python's clients.
        self.connection = {"bootstrap_servers": [f"{LOOPBACK}:{kafka_port}"]}
        self.reply_topic = ReplyTopic(self.connection, REPLY_TOPIC)
        self._env = {
            "KAFKA_URL": f"kafka://{LOOPBACK}:{kafka_port}",
            "SECRET_KEY": secrets.token_hex(32),
            "REPLIES_MODE": mode,
            "REPLY_TIMEOUT_S": f"{timeout_s:g}",
            "REPLY_RETENTION_S": f"{RETENTION_S:g}",
            "WEB_CONCURRENCY": str(WORKERS),
            "ROUTES_FILE": str(ROUTES),
            "LOG_FORMAT": "json",  # its lines have the process id
            "SOAK_SEED": str(seed),
            "SOAK_TIMEOUT_S": f"{timeout_s:g}",
            "SOAK_LEDGER": str(self.ledger_files[0].absolute()),
            **env,
        }
        if isinstance(self.redis, EmbeddedRedis):
            self._env["REDIS_URL"] = f"redis://{LOOPBACK}:{redis_port}/0"
        elif self.redis is not None:  # its servers tell clients their own addresses
            self._env["REDIS_URL"] = self.redis.url
        if delivery == "store":
            self._env["REPLY_DELIVERY"] = delivery
        if kafka == "embedded":
            self._env["KAFKA_FETCH_MAX_WAIT_MS"] = str(FETCH_MAX_WAIT_MS)

    def __enter__(self) -> Self:
        try:
            if self.redis is not None:
                self._stack.enter_context(self.redis)
            self._stack.enter_context(self.kafka)
            for proxy in self.proxies.values():
                self._stack.enter_context(proxy)
            self.create_topics()
            for file in self.ledger_files:
                Ledger(file).close()
            for name in PROCESSES[self.redis is None :]:
                for replica in range(REPLICAS):
                    self.start(name, replica)
            for replica in range(REPLICAS):
                self.wait_until_ready(replica)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_processes()
        self._stack.close()

    def start(self, name: str, replica: int) -> None:
        """Start one replica of "gateway", "replies" or "responder"; its log is continued."""
        self.start_in(None, name, replica, self.folder / f"{name}-{replica}.log")

    def start_in(self, tree: Path | None, name: str, replica: int, log: Path, **env: str) -> None:
        """Start one replica in the source tree *tree*; None is this one."""
        procfile = read_procfile((tree or Path()) / "Procfile") | {"responder": self._responder}
        command = procfile["web" if name == "gateway" else name]
        ports = {"PORT": str(self.ports[replica])}
        if name in self.metrics_ports:
            ports["METRICS_PORT"] = str(self.metrics_ports[name][replica])
        env = self._env | ports | env
        self.children[f"{name}-{replica}"] = start_process(command, env, log, tree)

    def child(self, name: str, replica: int) -> Child:
        """Return the process of a replica."""
        return self.children[f"{name}-{replica}"]

    def workers(self, replica: int) -> list[int]:
        """Return the process ids of the workers of one gateway."""
        children = sorted(children_of(self.child("gateway", replica).pid)[1:])
        return [pid for pid in children if not _serves_metrics(pid)]

    def processes(self) -> dict[str, int]:
        """Return the ids of all processes, workers included, by name."""
        found = {}
        for name, child in self.children.items():
            found[name] = child.pid
            for number, pid in enumerate(sorted(children_of(child.pid)[1:])):
                found[f"{name}/worker-{number}"] = pid
        return found

    def create_topics(self) -> None:
        """Create missing topics; a broker that lost its state has none."""
        create_topics(self.connection, self._topics)

    def redis_client(self) -> "Redis":
        """Return a client that bypasses the proxy; only with a single Redis."""
        assert isinstance(self.redis, EmbeddedRedis)
        return Redis.from_url(self.redis.url)

    def redis_clients(self) -> Iterator["Redis"]:
        """Yield a client of each server that has keys."""
        if isinstance(self.redis, RedisGroup):
            yield from self.redis.clients()
        elif self.redis is not None:
            with self.redis_client() as client:
                yield client

    def restart_ended(self) -> list[str]:
        """Restart processes that ended by themselves, and return their names."""
        ended = [name for name, child in self.children.items() if child.returncode is not None]
        for name in ended:
            kind, _, replica = name.rpartition("-")
            self.start(kind, int(replica))
        return ended

    def stop_processes(self) -> None:
        """Stop the processes, gateways first; the servers stay."""
        for name in ("gateway", "responder", "replies"):
            stopping = [child for key, child in self.children.items() if key.startswith(name)]
            for child in stopping:
                child.resume()  # an interrupted fault may have left it paused
                child.terminate()
            for child in stopping:
                child.stop(STOP_GRACE_S)
        self.children.clear()

    def wait_until_ready(self, replica: int) -> None:
        """Return when every worker of a gateway gets replies; raises NotReady."""
        probe = GatewayProbe(self.ports[replica], ECHO, WORKERS, self.timeout_s)
        if not wait_until(probe.is_ready, READY_LIMIT_S):
            raise NotReady(f"{probe.problem}; logs: {self.folder}")


def _serves_metrics(pid: int) -> bool:
    with suppress(OSError):
        return b"gateway.server.metrics_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _kafka(kind: str, advertised_port: int) -> tuple[Server, int]:
    """Return the broker, and its port that is advertised as *advertised_port*."""
    if kind == "apache":
        proxied = Listener("PROXIED", free_port(), advertised_port)
        return ApacheKafka(listeners=[proxied]), proxied.port
    broker = EmbeddedBroker(advertised_port=advertised_port)
    return broker, broker.port
