"""
Finds out that a consumer reads nothing although it should.

The reason may be a fault of the library or of the broker; neither reports it. poll() returns, so
that a watchdog is content.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from kafka import errors as kafka_errors

logger = logging.getLogger(__name__)

CHECK_INTERVAL_S = 1.0
#: Interval of asking the brokers, in seconds; a partition that is read is not asked about.
ASK_INTERVAL_S = 5.0
ASK_TIMEOUT_MS = 1_000
#: How long a stall lasts before it is logged, and before the consumer is opened again, in seconds.
STALL_S = 10.0
REOPEN_S = 30.0
#: Maximum time between two openings, in seconds: each one that does not help doubles it.
MAX_REOPEN_S = 600.0
#: Time between two checks after which all times begin again, in seconds: the process was suspended.
SUSPENDED_S = 5.0

#: Time without any cause after which a stall counts as ended, in seconds: it spans two questions.
QUIET_S = 15.0

#: Keys of stalls that concern no single partition.
NO_MEMBER, NO_PARTITION, NO_ANSWER = "no member", "no partition", "no answer"


class Stalls:
    """
    Checks what keeps a consumer from reading, and logs what lasts.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checked_s = clock()
        self._asked_s = clock()
        self._reopen_s = REOPEN_S
        self._since_s: dict[Any, float] = {}
        self._logged: set[Any] = set()
        self._positions: dict[Any, int | None] = {}
        self._moved_s: dict[Any, float] = {}
        self._behind: dict[Any, str] = {}
        self._empty_since_s: float | None = None
        self._is_spare: bool | None = None
        self._no_partition = self._unanswered = ""
        self._caused_s = clock()
        #: Partitions of which nothing is read although records wait there.
        self.partitions: frozenset[Any] = frozenset()

    def is_due(self) -> bool:
        """Return whether it is time for the next check()."""
        return self._clock() - self._checked_s >= CHECK_INTERVAL_S

    def check(self, consumer: Any) -> bool:
        """Return whether *consumer*, a PatchedConsumer, should be opened again."""
        now_s = self._clock()
        if now_s - self._checked_s > SUSPENDED_S:
            self._forget()
        self._checked_s = now_s
        causes = self._causes(consumer, now_s)
        self._since_s = {key: self._since_s.get(key, now_s) for key in causes}
        lasting = {key for key, since_s in self._since_s.items() if now_s - since_s >= STALL_S}
        self.partitions = frozenset(lasting - {NO_MEMBER, NO_PARTITION, NO_ANSWER})
        if causes:
            self._caused_s = now_s
        self._log(causes, lasting, now_s - self._caused_s)
        longest_s = max((now_s - since_s for since_s in self._since_s.values()), default=0.0)
        return longest_s >= self._reopen_s

    def note_reopening(self) -> None:
        """Note that the consumer was opened again, or could not be."""
        self._reopen_s = min(self._reopen_s * 2, MAX_REOPEN_S)
        self._forget()

    def _forget(self) -> None:
        """Let all times begin again."""
        self._since_s.clear()
        # Without its position each partition counts as moved at the next check.
        self._positions.clear()
        self._behind.clear()
        self._empty_since_s = None

    def _causes(self, consumer: Any, now_s: float) -> dict[Any, str]:
        """Return what keeps *consumer* from reading, by partition or by one of the keys."""
        if not consumer.is_member():
            self._behind.clear()
            return {NO_MEMBER: "no member of its group: no assignment or no heartbeat"}
        assigned = consumer.assignment()
        if not assigned:
            return self._causes_of_no_partition(consumer, now_s)
        self._empty_since_s = self._is_spare = None
        return self._causes_by_partition(consumer, assigned - consumer.paused(), now_s)

    def _causes_of_no_partition(self, consumer: Any, now_s: float) -> dict[Any, str]:
        if self._empty_since_s is None:
            self._empty_since_s = now_s
        if now_s - self._empty_since_s < STALL_S or not self._may_ask(now_s):
            return {NO_PARTITION: self._no_partition} if self._is_spare is False else {}
        members = _answer(lambda: consumer.group_members(ASK_TIMEOUT_MS))
        partitions = _answer(lambda: _partitions(consumer))
        if members is None or partitions is None:
            return {}
        self._no_partition = f"no partition; {members} members for {partitions} partitions"
        was_spare, self._is_spare = self._is_spare, members > partitions or not partitions
        if self._is_spare:
            if not was_spare:
                logger.info("has %s", self._no_partition)
            return {}
        self._since_s.setdefault(NO_PARTITION, self._empty_since_s)
        return {NO_PARTITION: self._no_partition}

    def _causes_by_partition(
        self, consumer: Any, reading: Collection[Any], now_s: float
    ) -> dict[Any, str]:
        """Return a cause for each of *reading* that records wait in while nothing is read."""
        positions = {partition: consumer.known_position(partition) for partition in reading}
        for partition, position in positions.items():
            if self._positions.get(partition, -1) != position:
                self._moved_s[partition] = now_s
                self._behind.pop(partition, None)
        self._positions = positions
        self._behind = {p: cause for p, cause in self._behind.items() if p in positions}
        unread = [p for p in positions if now_s - self._moved_s[p] >= ASK_INTERVAL_S]
        if unread and self._may_ask(now_s):
            return self._ask_for_ends(consumer, unread)
        still = {NO_ANSWER: self._unanswered} if NO_ANSWER in self._since_s and unread else {}
        return self._behind | still

    def _ask_for_ends(self, consumer: Any, unread: list[Any]) -> dict[Any, str]:
        ends = _answer(lambda: consumer.end_offsets(unread, timeout_ms=ASK_TIMEOUT_MS))
        if ends is None:
            self._unanswered = f"no answer to where {_names(unread)} end"
            return self._behind | {NO_ANSWER: self._unanswered}
        for partition in unread:
            position, end = self._positions[partition], ends.get(partition, 0)
            waiting = end if position is None else end - position
            if waiting > 0:
                self._behind[partition] = (
                    f"nothing read of {_names([partition])}; {waiting} records wait there"
                )
            else:
                self._behind.pop(partition, None)
        return dict(self._behind)

    def _may_ask(self, now_s: float) -> bool:
        """Return whether it is time to ask the brokers again, and note it."""
        if now_s - self._asked_s < ASK_INTERVAL_S:
            return False
        self._asked_s = now_s
        return True

    def _log(self, causes: Mapping[Any, str], lasting: AbstractSet[Any], quiet_s: float) -> None:
        for key in lasting - self._logged:
            logger.warning(
                "for %.0f s %s; the consumer is opened again after %.0f s of it",
                STALL_S,
                causes[key],
                self._reopen_s,
            )
        self._logged |= lasting
        if self._logged and quiet_s >= QUIET_S:
            logger.info("for %.0f s nothing has kept the consumer from reading", QUIET_S)
            self._reopen_s = REOPEN_S
            self._logged.clear()


def _answer(question: Callable[[], Any]) -> Any:
    """Return the answer of the brokers to *question*; None without one."""
    try:
        return question()
    except kafka_errors.KafkaError:
        return None


def _partitions(consumer: Any) -> int:
    # A topic is shared out by itself: with fewer members than it has partitions, each gets one.
    return max(
        (
            len(consumer.partitions_for_topic(topic) or ())
            for topic in consumer.subscription() or ()
        ),
        default=0,
    )


def _names(partitions: Collection[Any]) -> str:
    return ", ".join(sorted(f"{partition.topic}/{partition.partition}" for partition in partitions))
