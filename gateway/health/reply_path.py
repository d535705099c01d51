"""Health of the reply path: whether replies would arrive in time."""

import logging

from gateway import metrics
from gateway.exchange.waiting.partition_reader import PartitionReader
from gateway.exchange.waiting.poller import Poller
from gateway.health.partition_spread import PartitionSpread
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.heartbeats import PathState, ReplyPathHeartbeats

logger = logging.getLogger(__name__)

#: Maximum clock difference without a warning, in seconds.
CLOCK_TOLERANCE_S = 2.0


class ReplyPathHealth:
    """
    Finds what keeps replies from arriving in time.

    Args:
        reply_timeout_s: how long a client waits.
        retention_s: how long a reply is stored after its deadline.
        reader: reads the replies that come straight from Kafka; None if none do.
        spread: of the gateway processes over the partitions that they read.
    """

    def __init__(
        self,
        poller: Poller,
        heartbeats: ReplyPathHeartbeats,
        reply_timeout_s: float,
        retention_s: float,
        reader: PartitionReader | None = None,
        spread: PartitionSpread | None = None,
    ) -> None:
        self._poller = poller
        self._heartbeats = heartbeats
        self._reply_timeout_s = reply_timeout_s
        self._retention_s = retention_s
        self._reader = reader
        self._spread = spread
        self.topic = heartbeats.topic
        #: How the clocks differ although replies arrive, or None; problem() sets it.
        self.warning: str | None = None
        #: The largest lag of a replies process, in seconds; problem() sets it.
        self.lag_s = 0.0

    def warnings(self) -> list[str]:
        """Return what an operator should correct although replies arrive."""
        found = (self.warning, self._spread and self._spread.warning)
        return [warning for warning in found if warning]

    def problem(self) -> str | None:
        """Return why replies do not arrive in time, with advice, or None."""
        try:
            self._poller.check()
            self._renew_entry()
            state = self._heartbeats.state()
        except StoreUnavailable as error:
            return str(error)
        self._show(state)
        if state is None:
            return (
                f"no replies process reads topic {self.topic}; start one (python -m replies) or "
                "see its log"
            )
        self.lag_s = state.lag_s
        self._set_warning(state)
        return self._state_problem(state)

    def _show(self, state: PathState | None) -> None:
        is_read = state is not None and not state.unread
        metrics.REPLY_PATH_READ.labels(self.topic).set(is_read)
        metrics.REPLY_PATH_LAG.labels(self.topic).set(0 if state is None else state.lag_s)
        metrics.REPLY_PATH_CLOCK.labels(self.topic).set(0 if state is None else state.clock_ahead_s)

    def _renew_entry(self) -> None:
        read = None if self._reader is None else self._reader.reads()
        if read is not None and self._spread is not None:
            self._spread.renew(*read)

    def _state_problem(self, state: PathState) -> str | None:
        if state.clock_ahead_s > self._reply_timeout_s + self._retention_s:
            return _clock_difference(state.clock_ahead_s, ", so every reply counts as expired")
        if state.foreign:
            return self._foreign_problem(state)
        if state.unread:
            numbers = ", ".join(map(str, state.unread))
            return (
                f"no replies process reads partition {numbers} of topic {self.topic}; one hangs or "
                "has died, and its partitions are not reassigned yet: see its log"
            )
        if state.lag_s > self._reply_timeout_s:
            return (
                f"replies processes read topic {self.topic} {state.lag_s:.0f} s late; wait until "
                "the backlog is processed, or start more of them"
            )
        return None

    def _foreign_problem(self, state: PathState) -> str:
        numbers = ", ".join(map(str, state.foreign))
        return (
            f"the replies processes that read partition {numbers} of topic {self.topic} use "
            "another SECRET_KEY than this gateway and drop its replies; set the same SECRET_KEY "
            "for web and replies"
        )

    def _set_warning(self, state: PathState) -> None:
        is_tolerable = abs(state.clock_ahead_s) <= CLOCK_TOLERANCE_S
        warning = None if is_tolerable else _clock_difference(state.clock_ahead_s)
        if warning is not None and self.warning is None:
            logger.error("%s", warning)
        elif warning is None and self.warning is not None:
            logger.info("the clocks of the replies processes and this gateway agree again")
        self.warning = warning


def _clock_difference(ahead_s: float, effect: str = "") -> str:
    direction = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"the clock of a replies process is {abs(ahead_s):.0f} s {direction} this gateway's"
        f"{effect}; synchronize both (NTP)"
    )
