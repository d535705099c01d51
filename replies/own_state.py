"""The state of this replies process for the live page."""

from collections.abc import Mapping

from rendezvous.redis_store.process_state import ProcessState
from rendezvous.redis_store.snapshots import Snapshots


class OwnState:
    """
    Writes the state of this process.

    Args:
        mode: REPLIES_MODE.
    """

    def __init__(self, snapshots: Snapshots, mode: str) -> None:
        self._state = ProcessState(snapshots, "replies", {"mode": mode})

    def write(
        self,
        partitions: int,
        lags_s: Mapping[int, float],
        counts: Mapping[str, int],
        *,
        state: str = "running",
    ) -> None:
        """
        Write the state.

        Args:
            partitions: the number of partitions of the reply topic.
            lags_s: the lag in seconds of each partition that this process reads.
            counts: records by result.
            state: running or stopped.
        """
        values = {
            "partitions": partitions,
            "lags_s": {str(number): round(lag_s, 3) for number, lag_s in lags_s.items()},
            "counts": {name: n for name, n in counts.items() if n},
        }
        self._state.write(values, state)
