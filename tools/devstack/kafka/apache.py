"""Apache Kafka itself, for what the embedded broker cannot stand in for."""

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
    One more port of a broker.

    Args:
        name: in capital letters, as the options of Kafka spell it.
        advertised_port: where clients of this port are sent; that of a proxy, for example.
        protocol: PLAINTEXT or SSL.
    """

    name: str
    port: int
    advertised_port: int | None = None
    protocol: str = "PLAINTEXT"

    @property
    def address(self) -> str:
        """Where the broker listens."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def advertised(self) -> str:
        """Where clients are sent."""
        return f"{LOOPBACK}:{self.advertised_port or self.port}"


@dataclass(frozen=True)
class Membership:
    """
    What one node knows of its cluster.

    Args:
        node: its own number, from 1.
        controller_ports: of all nodes, in the order of their numbers.
        cluster_id: the same for all of them.
    """

    node: int
    controller_ports: Sequence[int]
    cluster_id: str

    @property
    def size(self) -> int:
        """How many nodes there are."""
        return len(self.controller_ports)

    @property
    def controller(self) -> str:
        """The address of this node's controller."""
        return f"{LOOPBACK}:{self.controller_ports[self.node - 1]}"

    @property
    def voters(self) -> str:
        """All controllers, as controller.quorum.voters has them."""
        ports = enumerate(self.controller_ports, start=1)
        return ",".join(f"{node}@{LOOPBACK}:{port}" for node, port in ports)


class ApacheKafka(Server):
    """
    A broker and controller in one Java process.

    What it holds survives kill() and restart(); stop() removes it.

    Args:
        listeners: further ports, beside the one of ``url``.
        options: lines of server.properties that add to ours or replace them.
        membership: of a cluster; by default it is one of its own.
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
    ) -> None:
        super().__init__(port)
        self._java_options = java_options
        self._listeners = [Listener("PLAINTEXT", self.port), *listeners]
        self._options = dict(options or {})
        self.membership = membership or Membership(1, [free_port()], new_cluster_id())

    @staticmethod
    def unavailable_reason() -> str | None:
        """Return in one sentence what is missing to run it here, or None."""
        missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
        if missing:
            return f"Apache Kafka needs {' and '.join(missing)} on PATH."
        version = _java_version()
        if version < MIN_JAVA:
            return f"Apache Kafka needs Java {MIN_JAVA} or later; java on PATH is {version}."
        return None

    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Say whether the broker answers a metadata request."""
        return broker_answers(LOOPBACK, self.port, timeout_s)

    def prepare(self) -> None:
        """Write the configuration, and format the data folder before the first start."""
        if (reason := self.unavailable_reason()) is not None:
            raise ServerNotStarted(reason)
        if self._properties.exists():
            return
        self._properties.write_text(self._configuration(), encoding="utf-8")
        cluster_id = self.membership.cluster_id
        options = ["format", "--config", str(self._properties), "--cluster-id", cluster_id]
        command = self._java("kafka.tools.StorageTool", *options)
        if run_to_end(command, self.log, FORMAT_LIMIT_S) != 0:
            self._properties.unlink()
            raise ServerNotStarted(f"StorageTool could not format:\n{self.log_tail()}")

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
        own = ",".join(f"{one.name}://{one.address}" for one in self._listeners)
        copies = str(membership.size)
        protocols = {one.name: one.protocol for one in self._listeners}
        lines = {
            "process.roles": "broker,controller",
            "node.id": str(membership.node),
            "controller.quorum.voters": membership.voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{own},CONTROLLER://{membership.controller}",
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
            # The default of 3 s is for many members that start together; here it is only delay.
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the next start waits for the end of its predecessor's session.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "default.replication.factor": copies,
            # As many as a cluster has that one of its nodes has left.
            "min.insync.replicas": str(max(membership.size - 1, 1)),
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": "1",
        } | self._options
        return "".join(f"{name}={value}\n" for name, value in lines.items())


def _java_version() -> int:
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    # 'openjdk version "17.0.15"', or "1.8.0_402" for Java 8: its 1 is old enough for the answer.
    found = re.search(r'version "(\d+)', said.stderr + said.stdout)
    return int(found[1]) if found else 0


def new_cluster_id() -> str:
    """Return an id as `kafka-storage random-uuid` makes it."""
    # With a leading "-" it would be taken for an option.
    return "r" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
