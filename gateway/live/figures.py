"""The figures of all processes, for the live page."""

import threading
import time
from typing import Any

from gateway.live import merge
from gateway.live.history import History
from gateway.live.recent_problems import RecentProblems
from gateway.live.writer import SnapshotWriter
from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.snapshots import FORMAT, Snapshot, Snapshots

#: How long figures are used again, in seconds, however many pages ask for them.
REUSE_S = 0.5
WITHOUT_REDIS = "this gateway runs without Redis (REDIS_URL), where processes leave their figures"


class LiveFigures:
    """
    Reads the figures of all processes. Safe to use from several threads.

    Args:
        writer: has the figures of this process.
        snapshots: None without Redis.
        reply_topic: with its prefix.
    """

    def __init__(
        self, writer: SnapshotWriter, snapshots: Snapshots | None, reply_topic: str
    ) -> None:
        self._writer = writer
        self._snapshots = snapshots
        self._reply_topic = reply_topic
        self._history = History()
        self._own_history = History()
        self._lock = threading.Lock()
        self._read_s = 0.0
        self._figures: dict[str, Any] = {}

    @property
    def recent(self) -> RecentProblems:
        """The last problems of this process."""
        return self._writer.own.recent

    def read(self) -> dict[str, Any]:
        """Return the figures, at most REUSE_S old, or older while another thread reads them."""
        # One thread waits for a Redis that hangs, not one for each open page.
        if self._lock.acquire(blocking=not self._figures):
            try:
                if not self._figures or time.monotonic() - self._read_s > REUSE_S:
                    self._figures = self._read()
                    self._read_s = time.monotonic()
            finally:
                self._lock.release()
        return self._figures

    def _read(self) -> dict[str, Any]:
        missing, snapshots, history = WITHOUT_REDIS, [], self._history
        if self._snapshots is not None:
            try:
                snapshots = self._snapshots.read()
                since = history.since()
                history.add(since, self._snapshots.read_steps(since))
                missing = ""
            except StoreUnavailable as error:
                missing = error.advice
        if missing:
            own = self._writer.last | {"node": self._writer.own.node, "format": FORMAT}
            snapshots, history = [Snapshot(own, 0.0, 0.0)], self._own_history
            history.add(0, list(self._writer.steps))
        return {
            "format": FORMAT,
            "time_ms": epoch_ms(),
            "answered_by": self._writer.own.node,
            "scope": "process" if missing else "all",
            "scope_reason": missing,
            **merge.figures(snapshots, self._reply_topic),
            "history": history.to_json(),
        }
