"""Executions recorded by all responders, in SQLite."""

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

#: Longer than any pause, because a paused responder may hold the lock.
BUSY_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Effect:
    """One execution; ``at_s`` is the monotonic time just before the reply."""

    number: int
    correlation_id: str
    digest: str  # of the request body as received
    at_s: float


class Ledger:
    """
    Executions in the order of recording. Thread-safe.

    Args:
        file: shared by all responders; created when missing.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        # Unsynchronised WAL: what a killed process wrote survives, a power failure does not matter.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS effects "
            "(number INTEGER, correlation_id TEXT, digest TEXT, at_s REAL)"
        )

    def record(self, number: int, correlation_id: str, digest: str, at_s: float) -> None:
        """Add one execution; it is in the file on return."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO effects VALUES (?, ?, ?, ?)", (number, correlation_id, digest, at_s)
            )

    def effects(self) -> list[Effect]:
        """Return all executions."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM effects ORDER BY rowid")
            return [Effect(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
