"""
A KafkaConsumer whose only thread is the one that polls it.

kafka-python 3.0 does a consumer's I/O on a thread of its own. Each poll() then hands three errands
over to it and waits for each, which costs several times what the records cost; and a fetch that is
answered while the next one is on its way is overlooked for a whole timeout. Here the thread that
polls turns the library's loop itself. Nothing else is changed: groups, metadata, retries and the
protocol remain the library's. The places are private: pinned below 3.1, and tested on real brokers.

The price: heartbeats are sent only while somebody polls, at least every few seconds.
"""

import time
from collections.abc import Coroutine
from functools import partial
from typing import Any


def poll_in_caller_thread(consumer: Any) -> Any:
    """Return *consumer*, a KafkaConsumer that nobody has polled yet, driven by whoever polls it."""
    consumer._net.stop()
    fetcher, coordinator = consumer._fetcher, consumer._coordinator
    fetcher.fetch_records = partial(_fetch_records, fetcher)
    fetcher.send_fetches = partial(_send_fetches, fetcher)
    coordinator.ensure_coordinator_ready = partial(
        _ensure_coordinator_ready, coordinator, coordinator.ensure_coordinator_ready
    )
    return consumer


def _fetch_records(
    fetcher: Any,
    max_records: int | None = None,
    update_offsets: bool = True,
    timeout_ms: float | None = None,
) -> tuple[dict[Any, list[Any]], bool]:
    """Do what Fetcher.fetch_records() does: return records, waiting *timeout_ms* for some."""
    records, more = fetcher.fetched_records(max_records, update_offsets=update_offsets)
    if not more:
        fetcher.send_fetches()
    if records:
        return records, False
    give_up_s = time.monotonic() + (timeout_ms or 0) / 1000
    while True:
        # Also when nothing is fetched: heartbeats and metadata need their turns.
        left_s = max(give_up_s - time.monotonic(), 0)
        fetcher._net._poll_once(left_s)
        if fetcher._completed_fetches or left_s == 0 or _has_something_to_send(fetcher):
            break
    records, _ = fetcher.fetched_records(max_records, update_offsets=update_offsets)
    return records, False


def _has_something_to_send(fetcher: Any) -> bool:
    """Say whether a fetch ended without records, or a position has become known."""
    return not fetcher._nodes_with_pending_fetch_requests and bool(fetcher._fetchable_partitions())


def _send_fetches(fetcher: Any) -> list[Any]:
    sent: list[Any] = _run(fetcher._send_fetches_async())
    return sent


def _ensure_coordinator_ready(coordinator: Any, find: Any, timeout_ms: float | None = None) -> bool:
    # The usual answer needs no turn of the loop.
    return not coordinator.coordinator_unknown() or bool(find(timeout_ms=timeout_ms))


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine of the library's that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise RuntimeError("kafka-python waits where it did not")
