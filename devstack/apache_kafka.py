"""Apache Kafka itself, one node, for what the embedded broker cannot stand in for."""

import base64
import re
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from devstack.child import run_to_end
from devstack.kafka_jars import kafka_jars
from devstack.kafka_probe import broker_answers
from devstack.ports import LOOPBACK, free_port
from devstack.server import ANSWER_TIMEOUT_S, Server, ServerNotStarted

LOG4J = Path(__file__).with_name("log4j2.properties")
MIN_JAVA = 17
FORMAT_LIMIT_S = 60.0


class ApacheKafka(Server):
    """
    A broker and controller in one Java process.

    What it holds survives kill() and restart(); stop() removes it.
    """

    name = "Apache Kafka"
    scheme = "kafka"
    start_limit_s = 60.0

    def __init__(
        self, port: int | None = None, java_options: Sequence[str] = ("-Xms128m", "-Xmx512m")
    ) -> None:
        super().__init__(port)
        self._controller_port = free_port()
        self._java_options = java_options

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
        options = ["format", "--config", str(self._properties), "--cluster-id", _cluster_id()]
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
        controller = f"{LOOPBACK}:{self._controller_port}"
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            # The default of 3 s is for many members that start together; here it is only delay.
            "group.initial.rebalance.delay.ms": "0",
            # After a kill the next start waits for the end of its predecessor's session.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items())


def _java_version() -> int:
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    # 'openjdk version "17.0.15"', or "1.8.0_402" for Java 8: its 1 is old enough for the answer.
    found = re.search(r'version "(\d+)', said.stderr + said.stdout)
    return int(found[1]) if found else 0


def _cluster_id() -> str:
    # With a leading "-" it would be taken for an option.
    return "r" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
