"""The state of this replies process: what it leaves in Redis for the live page."""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Any

from rendezvous import __version__
from rendezvous.correlation import epoch_ms, new_node
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.snapshots import Snapshots


class OwnState:
    """
    Writes the state of this process.

    Args:
        mode: REPLIES_MODE.
    """

    def __init__(self, snapshots: Snapshots, mode: str) -> None:
        self._snapshots = snapshots
        self._node = new_node()
        self._values: dict[str, Any] = {
            "kind": "replies",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "since_ms": epoch_ms(),
            "mode": mode,
        }

    def write(
        self,
        partitions: int,
        lags_s: Mapping[int, float],
        counts: Mapping[str, int],
        *,
        state: str = "running",
    ) -> None:
        """
        Write the state; errors of Redis are logged where replies are stored.

        Args:
            partitions: the number of partitions of the reply topic.
            lags_s: the lag in seconds of each partition that this process reads.
            counts: records by result.
            state: running or stopped.
        """
        values = self._values | {
            "state": state,
            "partitions": partitions,
            "lags_s": {str(number): round(lag_s, 3) for number, lag_s in lags_s.items()},
            "counts": {name: n for name, n in counts.items() if n},
        }
        with contextlib.suppress(StoreUnavailable):
            self._snapshots.write(self._node, values, {})
