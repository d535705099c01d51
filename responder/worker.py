"""
ResponderWorker: polls request records, processes them and commits their offsets.

An offset is committed only when its record and all before it are finished, that is when the broker
has acknowledged their replies. So a crash redelivers requests and loses none.
"""

import threading
import time
from functools import partial

from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.consumer import RecordsByPartition, ResilientConsumer
from rendezvous.process.counts import OutcomeCounts
from rendezvous.process.watchdog import Watchdog
from responder.keyed_executor import KeyedExecutor
from responder.offsets import Offsets
from responder.request_processor import RequestProcessor

#: Interval of commits, and of log lines with the counts, in seconds.
COMMIT_INTERVAL_S = 0.1
SUMMARY_INTERVAL_S = 10.0
#: Maximum time to publish the remaining replies while stopping, in seconds.
FINISH_S = 5.0
#: Maximum number of unfinished requests per thread before the next poll. One whose reply is not
#: acknowledged is unfinished.
BACKLOG_PER_THREAD = 4
#: Maximum time without a poll while the backlog is full, in seconds: polls send heartbeats.
ROOM_WAIT_S = 0.2


class ResponderWorker:
    """
    The loop that consumes requests.

    Args:
        consumer: of the request topics; closed at the end of run().
        counts: the outcomes that the processor counts, logged every SUMMARY_INTERVAL_S.
        threads: maximum number of requests that are handled at once.
        watchdog: reset in each turn of the loop.
    """

    def __init__(
        self,
        consumer: ResilientConsumer,
        processor: RequestProcessor,
        counts: OutcomeCounts,
        threads: int,
        watchdog: Watchdog,
    ) -> None:
        self._consumer = consumer
        self._processor = processor
        self._counts = counts
        self._executor = KeyedExecutor(threads)
        self._max_backlog = threads * BACKLOG_PER_THREAD
        self._watchdog = watchdog
        self._offsets = Offsets()
        self._committed_s = self._summary_s = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Process requests until *stop* is set, then finish and commit those begun."""
        try:
            while not stop.is_set():
                self._watchdog.reset()
                self._process_records(self._poll())
                self._commit_and_log()
        finally:
            self._drain()

    def _poll(self) -> RecordsByPartition:
        """Return the next records once the backlog has room; none while it is full."""
        if self._offsets.wait_for_room(self._max_backlog, ROOM_WAIT_S):
            self._consumer.resume()
            return self._consumer.poll()
        # A paused consumer that polls stays a member of its group.
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

    def _commit_and_log(self) -> None:
        now_s = time.monotonic()
        if now_s - self._committed_s > COMMIT_INTERVAL_S:
            self._committed_s = now_s
            self._consumer.commit_async(self._offsets.to_commit(), self._offsets.note_committed)
        if now_s - self._summary_s > SUMMARY_INTERVAL_S:
            self._summary_s = now_s
            self._counts.log()

    def _drain(self) -> None:
        """Wait for the handlers that have begun and for their replies, then commit."""
        # From here on the platform limits the time, not the watchdog.
        self._watchdog.stop()
        self._processor.stop(FINISH_S)
        self._executor.close()
        self._processor.close()
        self._consumer.commit(self._offsets.to_commit())
        self._consumer.close()
        self._counts.log()
