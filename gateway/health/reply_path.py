"""What the words of the replies processes mean for the requests of this gateway."""

import logging

from gateway.exchange.mailbox import Mailbox
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.heartbeats import PathState, ReplyPathHeartbeats

logger = logging.getLogger(__name__)

#: Clocks that differ by less are in order.
CLOCK_TOLERANCE_S = 2.0


class ReplyPathHealth:
    """
    Says why a reply would not arrive in time.

    Args:
        mailbox: where the replies are looked for.
        path: where the replies processes leave word.
        reply_timeout_s: how long a client waits.
        retention_s: how long after its deadline a reply is still taken.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        path: ReplyPathHeartbeats,
        reply_timeout_s: float,
        retention_s: float,
    ) -> None:
        self._mailbox = mailbox
        self._path = path
        self._reply_timeout_s = reply_timeout_s
        self._retention_s = retention_s
        self.topic = path.topic
        #: What should be seen to although replies arrive, or None.
        self.warning: str | None = None

    def ask(self) -> str | None:
        """Return what keeps replies from arriving in time, in words, or None."""
        try:
            self._mailbox.check()
            state = self._path.state()
        except StoreUnavailable as error:
            return str(error)
        if state is None:
            return (
                f"no replies process reads topic {self.topic}: start one (python -m replies), "
                "or see its log"
            )
        self._warn(self._difference(state.clock_ahead_s))
        return self._problem(state)

    def _problem(self, state: PathState) -> str | None:
        if state.clock_ahead_s > self._reply_timeout_s + self._retention_s:
            # By its reader's clock every reply comes when nobody can want it any more.
            return self._difference(state.clock_ahead_s) + "; so every reply counts as expired"
        if state.unread:
            numbers = ", ".join(map(str, state.unread))
            return (
                f"no replies process reads partition {numbers} of topic {self.topic}: "
                "one hangs or has died and its partitions are not taken over yet; see its log"
            )
        if state.lag_s > self._reply_timeout_s:
            return (
                f"replies are taken from topic {self.topic} {state.lag_s:.0f} s late: wait for the "
                "backlog to be worked off, or start more replies processes"
            )
        return None

    def _difference(self, ahead_s: float) -> str:
        if abs(ahead_s) <= CLOCK_TOLERANCE_S:
            return ""
        direction = "ahead of" if ahead_s > 0 else "behind"
        return (
            f"the clock of a replies process is {abs(ahead_s):.0f} s {direction} this gateway's: "
            "set both (NTP)"
        )

    def _warn(self, difference: str) -> None:
        if difference and self.warning is None:
            logger.error("%s", difference)
        elif self.warning is not None and not difference:
            logger.info("the clocks of the replies processes and this gateway agree again")
        self.warning = difference or None
