"""A table in SQLite that several processes write, some of which are killed."""

import sqlite3
from pathlib import Path

#: Longer than any pause, because a paused responder may hold the lock.
BUSY_TIMEOUT_S = 10.0


def open_table(file: Path, columns: str) -> sqlite3.Connection:
    """
    Return a connection, for any thread, to *file* with a table; both are created when missing.

    Args:
        columns: name of the table and its columns, as behind CREATE TABLE.
    """
    connection = sqlite3.connect(
        file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    # Unsynchronised WAL: what a killed process wrote survives, a power failure does not matter.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {columns}")
    return connection
