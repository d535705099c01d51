"""Executions recorded by all responders, in SQLite."""

import threading
from dataclasses import dataclass
from pathlib import Path

from tools.soak.shared_database import open_table


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
        self._connection = open_table(
            file, "effects (number INTEGER, correlation_id TEXT, digest TEXT, at_s REAL)"
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
