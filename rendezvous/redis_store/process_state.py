"""Writes the state of a process without HTTP for the live page."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from rendezvous import __version__
from rendezvous.correlation import epoch_ms, new_node
from rendezvous.errors import StoreUnavailable
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.snapshots import Snapshots

logger = logging.getLogger(__name__)

#: Interval of writing, in seconds.
INTERVAL_S = 1.0


class ProcessState:
    """
    Writes the state of this process.

    Args:
        kind: ``replies`` or ``responder``.
        facts: what does not change.
    """

    def __init__(self, snapshots: Snapshots, kind: str, facts: Mapping[str, Any]) -> None:
        self._snapshots = snapshots
        self._node = new_node()
        self._log = ThrottledLog(logger, 60.0)
        self._facts: dict[str, Any] = {
            "kind": kind,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "since_ms": epoch_ms(),
            **facts,
        }

    def write(self, values: Mapping[str, Any], state: str = "running") -> None:
        """Write *values* and the *state*, running or stopped; errors of Redis are logged."""
        try:
            self._snapshots.write(self._node, {**self._facts, **values, "state": state}, {})
        except StoreUnavailable as error:
            self._log.info("the live page does not show this process: %s", error)


class StateWriter:
    """
    Writes the state of this process once a second, in a thread: Redis may hang.

    Args:
        values: returns what changes.
    """

    def __init__(self, state: ProcessState, values: Callable[[], Mapping[str, Any]]) -> None:
        self._state = state
        self._values = values
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-state", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, and write that this process has stopped."""
        self._closing.set()
        self._thread.join(timeout=2)
        self._state.write({**self._values(), "problems": []}, "stopped")

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._state.write(self._values())
            except Exception:
                # Without its thread this process would look as if it hung.
                logger.exception("writing the state of this process failed; trying again")
            self._closing.wait(INTERVAL_S)
