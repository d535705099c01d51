"""
Does a consumer's I/O on the thread that polls it.

Bug: kafka-python 3.0 does it on a thread of its own. A fetch that is answered while poll() sends
the next one is overlooked: its records wait for the retry backoff or for another fetch. And each
poll() hands three tasks to that thread and waits for each.
Reproduce: test_an_answered_fetch_is_not_overlooked in tests/unit/rendezvous/kafka_client/patches.
Effect: polls and fetches can be long. Without it the responder takes 1.12 to 1.21 times the CPU,
web and replies 1.05 to 1.08 times.
Remove: when the test passes with a plain KafkaConsumer. On kafka-python's main branch (3.1) it does
not: the fetcher is the same, and _poll_once() and stop() are in kafka.net.backend.selector.
Cost: heartbeats are sent only while the consumer is polled, at least every few seconds.
"""

import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from rendezvous.kafka_client.patches.bounded_batches import MAX_POLL_BYTES, Limits

#: Records after which the limit of a poll is checked.
RECORDS_PER_CHECK = 16


class UndecodableRecord(Exception):
    """Raised by poll() for the next record of *partition*; *error* is the library's."""

    def __init__(self, partition: Any, error: Exception) -> None:
        super().__init__(partition, error)
        self.partition, self.error = partition, error


def poll_in_caller_thread(consumer: Any, limits: Limits) -> None:
    """
    Let *consumer*, a KafkaConsumer that was not polled yet, do its I/O in poll().

    Args:
        limits: of its batches; a poll takes none once MAX_POLL_BYTES were decompressed.
    """
    consumer._net.stop()
    fetcher, coordinator = consumer._fetcher, consumer._coordinator
    fetcher.fetch_records = partial(_fetch_records, fetcher, limits)
    fetcher.send_fetches = partial(_send_fetches, fetcher)
    coordinator.ensure_coordinator_ready = partial(
        _ensure_coordinator_ready, coordinator, coordinator.ensure_coordinator_ready
    )


def _fetch_records(
    fetcher: Any,
    limits: Limits,
    max_records: int | None = None,
    update_offsets: bool = True,
    timeout_ms: float | None = None,
) -> tuple[dict[Any, list[Any]], bool]:
    """Replace Fetcher.fetch_records(): return records, waiting up to *timeout_ms* for some."""
    max_records = max_records or fetcher.config["max_poll_records"]
    records, more = _fetched(fetcher, limits, max_records, update_offsets)
    if not more:
        fetcher.send_fetches()
    if records:
        return records, False
    give_up_s = time.monotonic() + (timeout_ms or 0) / 1000
    while True:
        # At least once, also when nothing is fetched: heartbeats and metadata need the loop.
        left_s = 0 if fetcher._completed_fetches else max(give_up_s - time.monotonic(), 0)
        fetcher._net._poll_once(left_s)
        if fetcher._completed_fetches or left_s == 0 or _can_send_fetch(fetcher):
            break
    records, _ = _fetched(fetcher, limits, max_records, update_offsets)
    return records, False


def _fetched(
    fetcher: Any, limits: Limits, max_records: int, update_offsets: bool
) -> tuple[dict[Any, list[Any]], bool]:
    """Return what Fetcher.fetched_records() does, in parts until a limit is reached."""
    limits.polled_bytes = 0
    found: dict[Any, list[Any]] = {}
    count, more = 0, True
    while count < max_records and limits.polled_bytes < MAX_POLL_BYTES:
        part = min(RECORDS_PER_CHECK, max_records - count)
        try:
            records, more = fetcher.fetched_records(part, update_offsets=update_offsets)
        except Exception as error:
            held = fetcher._next_partition_records
            if found:
                _raise_later(held, error)
                break
            if held:
                raise UndecodableRecord(held.topic_partition, error) from error
            raise
        for partition, new in records.items():
            found.setdefault(partition, []).extend(new)
        returned = sum(map(len, records.values()))
        count += returned
        if returned < part:
            break  # there are no more
    return found, more


def _raise_later(held: Any, error: Exception) -> None:
    """Let the next poll raise *error*: the records before it are returned first."""
    # Without records it is not about one: the next fetch ends with the same error.
    if held:
        held._next_inline_exception = error


def _can_send_fetch(fetcher: Any) -> bool:
    """Return whether a fetch ended without records, or a position has become known."""
    return not fetcher._nodes_with_pending_fetch_requests and bool(fetcher._fetchable_partitions())


def _send_fetches(fetcher: Any) -> list[Any]:
    sent: list[Any] = _run(fetcher._send_fetches_async())
    return sent


def _ensure_coordinator_ready(
    coordinator: Any, find_coordinator: Callable[..., Any], timeout_ms: float | None = None
) -> bool:
    # A known coordinator, the usual case, needs no turn of the loop.
    return not coordinator.coordinator_unknown() or bool(find_coordinator(timeout_ms=timeout_ms))


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine of the library that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise RuntimeError("kafka-python suspends a coroutine that did not suspend in 3.0")
