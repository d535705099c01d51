"""
Reads the partition of the reply topic in which this process waits for its replies.

Each process has one: it gives its requests record keys and a header that lead the replies there.
Two processes may share a partition; each takes the replies to its own requests.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gateway.exchange.waiting.reply_keys import MAX_TRIES, ReplyKeys
from gateway.exchange.waiting.straight_replies import StraightReplies
from rendezvous.kafka_client.consuming.consumer import RecordsByPartition
from rendezvous.kafka_client.consuming.partition_consumer import PartitionConsumer
from rendezvous.process.watchdog import Watchdog

logger = logging.getLogger(__name__)

#: Pause between two attempts to open the consumer, in seconds.
OPEN_PAUSE_S = 1.0
#: Interval of comparing the number of partitions, in seconds.
CHECK_INTERVAL_S = 1.0
SUMMARY_INTERVAL_S = 10.0
#: Number of replies in one batch from which the next poll is delayed, so that more replies share
#: its round trip, and the delay in seconds: a fetch costs as much as ten replies.
GATHER_MIN_REPLIES = 4
GATHER_S = 0.002
#: Maximum time between two turns of the loop before the watchdog ends the process, in seconds.
LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where the reply to one request comes straight from Kafka."""

    partition: int
    key: bytes  # a record key that leads there
    keys: ReplyKeys

    def give_back(self) -> None:
        """Let another request use it, once the reply has come."""
        self.keys.give_back(self.key)


class Addresses(Protocol):
    """What the requester needs to have replies come straight."""

    def await_ready(self, timeout_s: float) -> bool:
        """Return whether replies come straight, within *timeout_s*."""

    def take(self) -> ReplyAddress | None:
        """Return the address for one request; None while no partition is read."""


class NoAddresses:
    """All replies come through Redis (REPLY_DELIVERY=store)."""

    def await_ready(self, timeout_s: float) -> bool:
        """Return False at once."""
        return False

    def take(self) -> ReplyAddress | None:
        """Return None."""
        return None


class Spread(Protocol):
    """Spreads processes over the partitions of the reply topic."""

    def node(self) -> str:
        """Return the name of this process."""

    def choose(self, partitions: int) -> int:
        """Return the partition that this process should read; *partitions* is their number."""


class PartitionReader:
    """
    Reads one partition in a thread, and passes its records on.

    Args:
        open_consumer: opens a consumer of the partition that its argument chooses, or raises
            ConnectionError or LookupError; see PartitionConsumer.open_one().
        spread: chooses the partition, and knows the name of this process.
        watchdog: ends this process when the thread hangs.
    """

    def __init__(
        self,
        open_consumer: Callable[[Callable[[int], int]], PartitionConsumer],
        replies: StraightReplies,
        spread: Spread,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._open_consumer = open_consumer
        self._replies = replies
        self._spread = spread
        self._watchdog = watchdog or Watchdog("the reader of replies", LIMIT_S)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._partition = self._partitions = 0
        self._keys: ReplyKeys | None = None
        self._problem: str | None = "the replies to this gateway are not read yet"
        self._is_read = threading.Event()

    def start(self) -> None:
        """Start reading; call it in the process that waits, after any fork."""
        self._closing = threading.Event()
        self._is_read.clear()
        self._keys = None
        self._thread = threading.Thread(
            target=self._run, args=(self._closing,), name="reply-reader", daemon=True
        )
        self._thread.start()
        self._watchdog.start()

    def close(self) -> None:
        """Stop reading."""
        self._watchdog.stop()
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def await_ready(self, timeout_s: float) -> bool:
        """Return whether the partition is read, within *timeout_s*."""
        return self._is_read.wait(timeout_s)

    def take(self) -> ReplyAddress | None:
        """Return the address for one request; None while no partition is read."""
        keys = self._keys
        return None if keys is None else ReplyAddress(self._partition, keys.take(), keys)

    def reads(self) -> tuple[int, int] | None:
        """Return the partition that is read and the number of partitions, or None."""
        return None if self._keys is None else (self._partition, self._partitions)

    def problem(self) -> str | None:
        """Return why replies do not come straight, or None."""
        return self._problem

    def _run(self, closing: threading.Event) -> None:
        while not closing.is_set():
            self._watchdog.reset()
            try:
                consumer = self._open_consumer(self._spread.choose)
            except Exception as error:
                # Without this thread no reply would come straight any more.
                if not isinstance(error, ConnectionError | LookupError):
                    logger.exception("opening the consumer failed; trying again")
                self._problem = f"the replies to this gateway are not read: {error}"
                closing.wait(OPEN_PAUSE_S)
                continue
            try:
                self._read(consumer, closing)
            except Exception:
                # Without this thread no reply would come straight any more.
                logger.exception("reading replies failed; opening the consumer again")
                closing.wait(OPEN_PAUSE_S)
            finally:
                self._keys = None
                self._note("the replies to this gateway are not read any more")
                consumer.close()

    def _read(self, consumer: PartitionConsumer, closing: threading.Event) -> None:
        """Read until closing, or until the partition does not exist any more."""
        self._partition, self._partitions = consumer.partition, consumer.partitions()
        self._keys = ReplyKeys(self._partition, [self._partitions], self._spread.node())
        self._note(None)
        logger.info("reading partition %d of the reply topic", self._partition)
        checked_s = logged_s = time.monotonic()
        while not closing.is_set():
            self._watchdog.reset()
            self._settle(consumer.poll())
            now_s = time.monotonic()
            if now_s - checked_s > CHECK_INTERVAL_S:
                checked_s = now_s
                if not self._check(consumer):
                    return
            if now_s - logged_s > SUMMARY_INTERVAL_S:
                logged_s = now_s
                self._replies.log()
        self._replies.log()

    def _settle(self, batch: RecordsByPartition) -> None:
        for records in batch.values():
            self._replies.settle(records)
        if sum(map(len, batch.values())) >= GATHER_MIN_REPLIES:
            time.sleep(GATHER_S)

    def _check(self, consumer: PartitionConsumer) -> bool:
        """Follow the number of partitions; return whether the own one still exists."""
        is_read = consumer.is_reading()
        unread = f"partition {self._partition} of the reply topic cannot be read; see the log"
        self._note(None if is_read else unread)
        partitions = consumer.partitions()
        if 0 < partitions <= self._partition:
            logger.warning("the reply topic has no partition %d any more", self._partition)
            return False
        if partitions and partitions != self._partitions:
            logger.info("the reply topic has %d partitions now", partitions)
            counts = [partitions]
            # Producers of other clients know the new number after minutes only.
            if math.lcm(partitions, self._partitions) <= MAX_TRIES:
                counts.append(self._partitions)
            self._partitions = partitions
            self._keys = ReplyKeys(self._partition, counts, self._spread.node())
        return True

    def _note(self, problem: str | None) -> None:
        self._problem = problem
        self._replies.is_read = problem is None
        if problem is None:
            self._is_read.set()
        else:
            self._is_read.clear()
