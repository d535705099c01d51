"""Whether the reply topic has enough partitions for all gateway processes."""

import logging
import random
from collections.abc import Callable

from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.gateway_registry import GatewayRegistry

logger = logging.getLogger(__name__)


class PartitionSpread:
    """
    Spreads the gateway processes over the partitions of the reply topic.

    Args:
        registry: None without Redis; then each process chooses by chance.
        topic: the reply topic, with its prefix.
        node: returns the name of this process.
    """

    def __init__(
        self, registry: GatewayRegistry | None, topic: str, node: Callable[[], str]
    ) -> None:
        self._registry = registry
        self._topic = topic
        self._node_of_process = node
        #: What an operator should change although replies arrive, or None; renew() sets it.
        self.warning: str | None = None

    def node(self) -> str:
        """Return the name of this process."""
        return self._node_of_process()

    def choose(self, partitions: int) -> int:
        """Return the partition that this process should read; *partitions* is their number."""
        if self._registry is not None:
            try:
                return self._registry.choose(self.node(), partitions)
            except StoreUnavailable as error:
                logger.warning("%s; choosing a partition of the reply topic by chance", error)
        return random.randrange(partitions)

    def renew(self, partition: int, partitions: int) -> None:
        """
        Tell the others that this process reads *partition*, and set the warning.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        if self._registry is None:
            return
        processes = self._registry.renew(self.node(), partition)
        warning = None
        if processes > partitions:
            warning = (
                f"{processes} gateway processes share the {partitions} partitions of topic "
                f"{self._topic}, and read each other's replies; give it {processes} partitions or "
                "more"
            )
            if self.warning is None:
                logger.warning("%s", warning)
        self.warning = warning
