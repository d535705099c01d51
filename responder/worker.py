"""
ResponderWorker: polls request records, processes them and commits their offsets.

An offset is committed only when its record and all before it are finished, that is when the broker
has acknowledged their replies. So a crash redelivers requests and loses none.
"""

import math
import threading
import time
from functools import partial
from typing import Any

from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.consuming.consumer import RecordsByPartition, ResilientConsumer
from rendezvous.process.counts import BACKLOG, LAG, OutcomeCounts
from rendezvous.process.monitoring.health import ProcessHealth
from rendezvous.process.monitoring.metrics import Labels, show_only
from rendezvous.process.watchdog import Watchdog
from responder.keyed_executor import KeyedExecutor
from responder.offsets import Offsets
from responder.request_processor import RequestProcessor

#: Interval of commits, and of log lines with the counts, in seconds.
COMMIT_INTERVAL_S = 0.1
SUMMARY_INTERVAL_S = 10.0
#: Interval of setting the metrics of the consumer, in seconds.
SHOW_INTERVAL_S = 1.0
#: Maximum time to publish the remaining replies while stopping, in seconds.
FINISH_S = 5.0
#: Maximum time to keep the partitions while handlers end, in seconds; new requests in them wait as
#: long. After it a request with the default REPLY_TIMEOUT_S would not begin again elsewhere.
KEEP_PARTITIONS_S = 5.0
#: Maximum number of unfinished requests per thread before the next poll. One whose reply is not
#: acknowledged is unfinished.
BACKLOG_PER_THREAD = 4
#: Maximum time without a poll while the backlog is full, or while stopping, in seconds: a member
#: of a group that does not poll loses its partitions.
ROOM_WAIT_S = 0.2


class ResponderWorker:
    """
    The loop that consumes requests.

    Args:
        consumer: of the request topics; closed at the end of run().
        counts: the outcomes that the processor counts, logged every SUMMARY_INTERVAL_S.
        threads: maximum number of requests that are handled at once.
        watchdog: reset in each turn of the loop.
        health: told what keeps the consumer from reading.
    """

    def __init__(
        self,
        consumer: ResilientConsumer,
        processor: RequestProcessor,
        counts: OutcomeCounts,
        threads: int,
        watchdog: Watchdog,
        health: ProcessHealth | None = None,
    ) -> None:
        self._consumer = consumer
        self._processor = processor
        self._counts = counts
        self._executor = KeyedExecutor(threads)
        self._max_backlog = threads * BACKLOG_PER_THREAD
        self._watchdog = watchdog
        self._health = health or ProcessHealth(watchdog)
        self._offsets = Offsets()
        self._has_left = False
        consumer.on_skipped = self._skip
        self._committed_s = self._summary_s = time.monotonic()
        self._shown_s = -math.inf
        self._shown: set[Labels] = set()  # topics and partitions with a metric of their lag

    def run(self, stop: threading.Event) -> None:
        """Process requests until *stop* is set, then finish and commit those begun."""
        self._executor.start()
        try:
            while not stop.is_set():
                self._watchdog.reset()
                self._process_records(self._poll())
                self._commit_and_log()
            self._await_handlers()
        finally:
            self._drain()

    def _poll(self) -> RecordsByPartition:
        """Return the next records once the backlog has room; none while it is full."""
        if self._offsets.wait_for_room(self._max_backlog, ROOM_WAIT_S):
            self._consumer.resume()
            return self._consumer.poll()
        return self._poll_paused()

    def _poll_paused(self) -> RecordsByPartition:
        """Stay a member of the group without reading, except for new partitions."""
        self._consumer.pause()
        return self._consumer.poll(timeout_ms=0)

    def _process_records(self, batch: RecordsByPartition) -> None:
        polled_ms = epoch_ms()
        for partition, records in batch.items():
            received_ms = polled_ms if self._consumer.read_on_arrival(partition) else None
            self._offsets.begin(partition, [record.offset for record in records])
            self._executor.submit_all(
                (
                    # Records with the same key are processed in order.
                    None if record.key is None else (partition, record.key),
                    partial(
                        self._processor.process,
                        record,
                        received_ms,
                        partial(self._offsets.finish, partition, record.offset),
                    ),
                )
                for record in records
            )

    def _skip(self, partition: Any, offset: int, error: Exception) -> None:
        """Do what the record at *offset* needs, which cannot be decoded."""
        self._offsets.begin(partition, [offset])
        finish = partial(self._offsets.finish, partition, offset)
        self._processor.skip(partition, offset, error, finish)

    def _commit_and_log(self) -> None:
        now_s = time.monotonic()
        if now_s - self._committed_s > COMMIT_INTERVAL_S:
            self._committed_s = now_s
            self._commit()
        if now_s - self._shown_s > SHOW_INTERVAL_S:
            self._shown_s = now_s
            self._show_state()
        if now_s - self._summary_s > SUMMARY_INTERVAL_S:
            self._summary_s = now_s
            self._counts.log()

    def _commit(self) -> None:
        self._consumer.commit_async(self._offsets.to_commit(), self._offsets.note_committed)

    def _show_state(self) -> None:
        """Set the metrics of the consumer, and its problem for the probes."""
        problem = self._consumer.problem()
        self._health.problems = [] if problem is None else [problem]
        BACKLOG.set(self._offsets.unfinished)
        lags_s = {(p.topic, str(p.partition)): lag for p, lag in self._consumer.lags_s().items()}
        self._shown = show_only(LAG, lags_s, self._shown)

    def _await_handlers(self) -> None:
        """Keep the partitions until the handlers that have begun have ended, or time is over."""
        self._begin_no_more()
        give_up_s = time.monotonic() + KEEP_PARTITIONS_S
        while not self._executor.close(ROOM_WAIT_S):
            if time.monotonic() >= give_up_s:
                # Others begin what waits in these partitions; handlers and replies go on here.
                self._leave_group()
                return
            # The executor drops records of a partition that has just been assigned.
            self._process_records(self._poll_paused())
            self._commit()

    def _drain(self) -> None:
        """Wait for the handlers that have begun, then for their replies, then commit."""
        self._begin_no_more()
        self._executor.close()
        self._processor.close(FINISH_S)
        self._leave_group()
        self._counts.log()

    def _leave_group(self) -> None:
        """Commit what has finished, and leave, unless it has left."""
        if not self._has_left:
            self._has_left = True
            self._consumer.commit(self._offsets.to_commit())
            self._consumer.close()

    def _begin_no_more(self) -> None:
        self._health.problems = ["this process is shutting down"]
        # From here on the platform limits the time, not the watchdog.
        self._watchdog.stop()
        self._processor.stop()
