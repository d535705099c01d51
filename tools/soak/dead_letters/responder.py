"""
A responder whose handler fails, and that records what it does:
`python -m tools.soak.dead_letters.responder`.

    SOAK_SEED     determines the fates
    SOAK_EVENTS   file of the events
"""

import logging
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rendezvous.contract import Reply, Request
from rendezvous.framework_requests import CORRELATION_ID
from responder import __main__ as entry_point
from responder import request_processor
from responder.attempts import Attempts
from responder.keyed_executor import Later
from responder.registry import Retry, handles
from tools.soak.dead_letters.events import Did, Event, EventLog
from tools.soak.dead_letters.fates import RETRY_PAUSE_S, Fate, delay_s_of, fate_of, retries_of
from tools.soak.load.tasks import TOPIC


class RecordingProcessor(request_processor.RequestProcessor):
    """A RequestProcessor that records each delivery."""

    events: EventLog

    def process(
        self, record: Any, received_ms: int | None, on_end: Any, earlier: Attempts | None = None
    ) -> Later | None:
        """Record the delivery before anything else."""
        if earlier is None:
            key = (record.key or b"").decode()
            cid = dict(record.headers).get(CORRELATION_ID, b"").decode()
            self.events.add(Event(os.getpid(), Did.TOOK, cid, record.partition, record.offset, key))
        return super().process(record, received_ms, on_end, earlier)


class ExpiryRecorder(logging.Handler):
    """Records the requests that were dropped, from the log lines about them."""

    def __init__(self, events: EventLog) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        """Record the request that *record* names."""
        if str(record.msg).startswith("dropped, its deadline"):
            cid = str(vars(record)["correlation_id"])
            self._events.add(Event(os.getpid(), Did.EXPIRED, cid))


class Handler:
    """Does with each request what its fate is."""

    def __init__(self, seed: int, events: EventLog) -> None:
        self._seed = seed
        self._events = events
        self._calls: Counter[str] = Counter()

    def __call__(self, request: Request) -> Reply:
        number, cid = int(request.body or b"0"), request.correlation_id
        time.sleep(delay_s_of(self._seed, number))
        if fate_of(self._seed, number) is Fate.FAILED:
            self._add(Did.FAILED, cid)
            raise RuntimeError(f"number {number} fails")
        self._calls[cid] += 1
        if self._calls[cid] <= retries_of(self._seed, number):
            self._add(Did.RETRIED, cid)
            raise Retry(f"number {number} is not finished", after_s=RETRY_PAUSE_S)
        self._add(Did.ANSWERED, cid)
        return Reply.to(request, request.body)

    def _add(self, did: Did, correlation_id: str) -> None:
        self._events.add(Event(os.getpid(), did, correlation_id))


def main() -> None:
    """Run the responder."""
    events = EventLog(Path(os.environ["SOAK_EVENTS"]))
    RecordingProcessor.events = events
    vars(entry_point).update(RequestProcessor=RecordingProcessor)
    request_processor.logger.addHandler(ExpiryRecorder(events))
    handles(TOPIC)(Handler(int(os.environ["SOAK_SEED"]), events))
    entry_point.main()


if __name__ == "__main__":
    main()
