"""Writes the state of this process to Redis once a second."""

import logging
import threading
from collections import deque
from typing import Any

from gateway.live.own_state import OwnState
from rendezvous.errors import StoreUnavailable
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.snapshots import HISTORY_S, STEP_S, Snapshots

logger = logging.getLogger(__name__)

#: Interval of writing, in seconds.
INTERVAL_S = 1.0


class SnapshotWriter:
    """
    Takes the state of this process in a thread, and writes it.

    Args:
        snapshots: None without Redis; then this process alone knows its state.
    """

    def __init__(self, own: OwnState, snapshots: Snapshots | None) -> None:
        self._own = own
        self._snapshots = snapshots
        self._log = ThrottledLog(logger, 60.0)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        #: The last snapshot, and the steps of this process, oldest first.
        self.last: dict[str, Any] = {}
        self.steps: deque[dict[str, Any]] = deque(maxlen=HISTORY_S // STEP_S)

    @property
    def own(self) -> OwnState:
        """The state of this process."""
        return self._own

    def start(self) -> None:
        """Start the thread; call it after any fork."""
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._closing,), name="live-snapshots", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, and write that this process has stopped."""
        self._closing.set()
        if self._thread is None:
            return
        self._thread.join(timeout=2)
        self._thread = None
        if self.last:
            self._write({**self.last, "state": "stopped", "problems": [], "warnings": []}, {})

    def _run(self, closing: threading.Event) -> None:
        while not closing.wait(INTERVAL_S):
            try:
                self.take()
            except Exception:
                # Without its thread this process would look as if it hung.
                logger.exception("taking the figures of this process failed; trying again")

    def take(self) -> None:
        """Take the state of this process, and write it."""
        values, step = self._own.snapshot(), self._own.ended_step()
        self.last = values
        if step:
            self.steps.append(step)
        self._write(values, step)

    def _write(self, values: dict[str, Any], step: dict[str, Any]) -> None:
        if self._snapshots is None:
            return
        try:
            self._snapshots.write(self._own.node, values, step)
        except StoreUnavailable as error:
            self._log.info("the live page does not show this process: %s", error)
