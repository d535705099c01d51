"""Three nodes of Apache Kafka: what one of them holds, the others hold too."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from tools.devstack.kafka.apache import ApacheKafka, Membership, new_cluster_id
from tools.devstack.kafka.probe import broker_ids
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import ANSWER_TIMEOUT_S

NODES = 3
#: Three of them share a laptop: a small heap, and no compiler that takes the processors away.
JAVA_OPTIONS = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class ApacheCluster:
    """
    A cluster whose topics have three copies, of which two have to have a record (acks=all).

    Each node is a broker and a controller, so that a kill takes both along.
    """

    def __init__(self, java_options: Sequence[str] = JAVA_OPTIONS) -> None:
        controller_ports = _free_ports(NODES)
        cluster_id = new_cluster_id()
        self.nodes = [
            _Node(
                java_options=java_options,
                membership=Membership(number, controller_ports, cluster_id),
            )
            for number in range(1, NODES + 1)
        ]

    @property
    def url(self) -> str:
        """All nodes, as KAFKA_URL says it."""
        return ",".join(node.url for node in self.nodes)

    def node(self, node_id: int) -> ApacheKafka:
        """Return the node that brokers call *node_id*."""
        return self.nodes[node_id - 1]

    def start(self) -> Self:
        """
        Start all nodes and return when each of them answers and has been let in.

        Raises:
            ServerNotStarted: when one does not.
        """
        self.start_again()
        return self

    def start_again(self) -> None:
        """Start the nodes that do not run; what they held is there again."""
        down = [node for node in self.nodes if not node.runs]
        with ThreadPoolExecutor(NODES) as pool:
            # None of them answers before two are there.
            list(pool.map(lambda node: node.start(), down))

    def stop(self) -> None:
        """End all nodes and remove what they hold."""
        for node in self.nodes:
            # At once: a polite end waits for a quorum, which the last ones do not have.
            node.kill()
            node.stop()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *error: object) -> None:
        self.stop()


class _Node(ApacheKafka):
    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Say whether the node answers and counts itself among the brokers."""
        return self.membership.node in broker_ids(LOOPBACK, self.port, timeout_s)


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
