"""Apache Kafka, for what the embedded broker does not cover."""

import base64
import re
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.devstack.kafka.jars import kafka_jars
from tools.devstack.kafka.probe import broker_answers
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.child import run_to_end
from tools.devstack.process.server import ANSWER_TIMEOUT_S, Server, ServerNotStarted

LOG4J = Path(__file__).with_name("log4j2.properties")
MIN_JAVA = 17
FORMAT_LIMIT_S = 60.0


@dataclass(frozen=True)
class Listener:
    """
    A further listener of a broker.

    Args:
        name: in capital letters, as in Kafka's options.
        advertised_port: port advertised to clients, for example that of a proxy.
        protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        host: address to listen on, an IPv6 one in brackets.
        advertised_host: host advertised to clients; *host* by default.
    """

    name: str
    port: int
    advertised_port: int | None = None
    protocol: str = "PLAINTEXT"
    host: str = LOOPBACK
    advertised_host: str = ""

    @property
    def address(self) -> str:
        """Address that the broker listens on."""
        return f"{self.host}:{self.port}"

    @property
    def advertised(self) -> str:
        """Address that the broker advertises."""
        return f"{self.advertised_host or self.host}:{self.advertised_port or self.port}"


@dataclass(frozen=True)
class Membership:
    """
    A node and its cluster.

    Args:
        node: node id, from 1.
        controller_ports: of all nodes, ordered by id.
        cluster_id: the same for all nodes.
    """

    node: int
    controller_ports: Sequence[int]
    cluster_id: str

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.controller_ports)

    @property
    def controller(self) -> str:
        """Address of this node's controller."""
        return f"{LOOPBACK}:{self.controller_ports[self.node - 1]}"

    @property
    def voters(self) -> str:
        """All controllers, in the format of controller.quorum.voters."""
        ports = enumerate(self.controller_ports, start=1)
        return ",".join(f"{node}@{LOOPBACK}:{port}" for node, port in ports)


class ApacheKafka(Server):
    """
    A broker and controller in one Java process.

    Its data survives kill() and restart(); stop() removes it.

    Args:
        listeners: in addition to that of ``url``.
        options: further or replaced lines of server.properties.
        membership: of a cluster; by default a cluster of one node.
        scram_users: in the form of ``kafka-storage format --add-scram``.
    """

    name = "Apache Kafka"
    scheme = "kafka"
    start_limit_s = 60.0

    def __init__(
        self,
        port: int | None = None,
        java_options: Sequence[str] = ("-Xms128m", "-Xmx512m"),
        listeners: Sequence[Listener] = (),
        options: Mapping[str, str] | None = None,
        membership: Membership | None = None,
        scram_users: Sequence[str] = (),
    ) -> None:
        super().__init__(port)
        self._java_options = java_options
        self._listeners = [Listener("PLAINTEXT", self.port), *listeners]
        self._options = dict(options or {})
        self._scram_users = scram_users
        self.membership = membership or Membership(1, [free_port()], new_cluster_id())

    @staticmethod
    def unavailable_reason() -> str | None:
        """Return what is missing on this machine as a sentence, or None."""
        missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
        if missing:
            return f"Apache Kafka needs {' and '.join(missing)} on PATH."
        version = _java_version()
        if version < MIN_JAVA:
            return f"Apache Kafka needs Java {MIN_JAVA} or later; java on PATH is {version}."
        return None

    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Return whether the broker answers a metadata request."""
        return broker_answers(LOOPBACK, self.port, timeout_s)

    def prepare(self) -> None:
        """Write the configuration and format the data folder before the first start."""
        if (reason := self.unavailable_reason()) is not None:
            raise ServerNotStarted(reason)
        if self._properties.exists():
            return
        self._properties.write_text(self._configuration(), encoding="utf-8")
        cluster_id = self.membership.cluster_id
        options = ["format", "--config", str(self._properties), "--cluster-id", cluster_id]
        for user in self._scram_users:
            options += ["--add-scram", user]
        command = self._java("kafka.tools.StorageTool", *options)
        if run_to_end(command, self.log, FORMAT_LIMIT_S) != 0:
            self._properties.unlink()
            raise ServerNotStarted(
                f"StorageTool failed to format the data folder:\n{self.log_tail()}"
            )

    def command(self) -> list[str]:
        """Return the command that runs the broker."""
        return self._java("kafka.Kafka", str(self._properties))

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _java(self, main_class: str, *arguments: str) -> list[str]:
        return [
            "java",
            *self._java_options,
            f"-Dlog4j2.configurationFile={LOG4J}",
            "-cp",
            f"{kafka_jars()}/*",
            main_class,
            *arguments,
        ]

    def _configuration(self) -> str:
        membership = self.membership
        listeners = ",".join(f"{one.name}://{one.address}" for one in self._listeners)
        replicas = str(membership.size)
        protocols = {one.name: one.protocol for one in self._listeners}
        lines = {
            "process.roles": "broker,controller",
            "node.id": str(membership.node),
            "controller.quorum.voters": membership.voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{listeners},CONTROLLER://{membership.controller}",
            "advertised.listeners": ",".join(
                f"{one.name}://{one.advertised}" for one in self._listeners
            ),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}"
                for name, protocol in {"CONTROLLER": "PLAINTEXT", **protocols}.items()
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            # The default of 3 s would only delay the few consumers here.
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the next start waits for the old session to expire.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "default.replication.factor": replicas,
            # Writable when one node is down.
            "min.insync.replicas": str(max(membership.size - 1, 1)),
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": "1",
        } | self._options
        return "".join(f"{name}={value}\n" for name, value in lines.items())


def _java_version() -> int:
    done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    # 'openjdk version "17.0.15"', or "1.8.0_402" for Java 8: 1 is too old as well.
    found = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found else 0


def new_cluster_id() -> str:
    """Return an id in the format of `kafka-storage random-uuid`."""
    # A leading "-" would be parsed as an option.
    return "r" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
