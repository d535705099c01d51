"""What the responders did, event by event, in SQLite: it survives SIGKILL."""

import threading
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import Path

from tools.soak.shared_database import open_table


class Did(StrEnum):
    """What a responder did with a record."""

    TOOK = "took"  # a delivery began
    ANSWERED = "answered"  # the handler returned a reply
    FAILED = "failed"  # the handler raised
    RETRIED = "retried"  # the handler raised Retry
    EXPIRED = "expired"  # dropped, its deadline had passed


#: Events of the handler.
CALLS = (Did.ANSWERED, Did.FAILED, Did.RETRIED)


@dataclass(frozen=True)
class Event:
    """
    One event of the process *pid*.

    Args:
        partition, offset, key: of the record if it was TOOK; -1 and "" otherwise.
    """

    pid: int
    did: str
    correlation_id: str
    partition: int = -1
    offset: int = -1
    key: str = ""


class EventLog:
    """
    Events in the order of their recording. Thread-safe.

    Args:
        file: shared by all responders; created when missing.
    """

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._connection = open_table(
            file,
            "events (pid INTEGER, did TEXT, correlation_id TEXT, partition INTEGER, "
            "position INTEGER, key TEXT)",
        )

    def add(self, event: Event) -> None:
        """Add one event; it is in the file on return."""
        with self._lock:
            self._connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", astuple(event))

    def all(self) -> list[Event]:
        """Return all events."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM events ORDER BY rowid")
            return [Event(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
