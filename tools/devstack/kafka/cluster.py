"""A cluster of three Apache Kafka nodes with replicated topics."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from tools.devstack.kafka.apache import ApacheKafka, Membership, new_cluster_id
from tools.devstack.kafka.probe import broker_ids
from tools.devstack.ports import LOOPBACK, free_port
from tools.devstack.process.server import ANSWER_TIMEOUT_S

NODES = 3
#: Three nodes share a machine: small heaps, and only the cheap compiler.
JAVA_OPTIONS = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class ApacheCluster:
    """
    A cluster with three replicas per topic and min.insync.replicas=2.

    Each node is broker and controller, so a kill ends both.
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
        """All nodes, in the format of KAFKA_URL."""
        return ",".join(node.url for node in self.nodes)

    def node(self, node_id: int) -> ApacheKafka:
        """Return the node with id *node_id*."""
        return self.nodes[node_id - 1]

    def start(self) -> Self:
        """
        Start the nodes that are down, with their data; return when each has joined the cluster.

        Raises:
            ServerNotStarted: when a node does not.
        """
        down = [node for node in self.nodes if not node.runs]
        with ThreadPoolExecutor(NODES) as pool:
            # Together, because none answers before two are up.
            list(pool.map(lambda node: node.start(), down))
        return self

    def stop(self) -> None:
        """Stop all nodes and remove their data."""
        for node in self.nodes:
            # Killed, because a graceful shutdown needs a quorum, which the last nodes do not have.
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
        """Return whether the node answers and is one of the brokers it lists."""
        return self.membership.node in broker_ids(LOOPBACK, self.port, timeout_s)


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
