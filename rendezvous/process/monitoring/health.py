"""Health of a process without HTTP clients, for probes of its management port."""

from rendezvous.process.watchdog import Watchdog

#: Share of the watchdog's limit after which a loop that does not turn counts as hanging.
HANGS_AT_SHARE = 0.5


class ProcessHealth:
    """
    What keeps the main loop of a process from its work; the loop sets it.

    Args:
        watchdog: of the main loop.

    Attributes:
        problems: a sentence each; empty while there are none.
    """

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self.problems = ["Kafka is not connected yet; see the log"]

    def dead(self) -> list[str]:
        """Return why this process should be restarted; empty while its loop turns."""
        silent_s = self._watchdog.silent_s
        if silent_s < HANGS_AT_SHARE * self._watchdog.limit_s:
            return []
        return [f"{self._watchdog.loop} has hung for {silent_s:.0f} s; restart this process"]

    def unready(self) -> list[str]:
        """Return what keeps this process from its work."""
        return self.dead() + self.problems
