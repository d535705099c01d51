"""
SqlJournal: effect and reply of a request in one database transaction.

Standard library only. Works with PEP 249 connections: sqlite3, psycopg and others.
"""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rendezvous import encoding
from rendezvous.contract import Reply, Request
from responder.registry import HandlerError

#: Execute one of the two once, before the first request.
CREATE_TABLE_SQLITE = """
CREATE TABLE IF NOT EXISTS answered_requests (
    correlation_id VARCHAR(200) PRIMARY KEY,
    deadline_ms BIGINT NOT NULL,
    reply BLOB NOT NULL
)
"""
CREATE_TABLE_POSTGRES = CREATE_TABLE_SQLITE.replace("BLOB", "BYTEA")

_NO_REPLY = b""
#: How long the row of a request without a deadline is kept, in seconds.
NO_DEADLINE_S = 86_400


class SqlJournal:
    """
    Stores the replies to requests in the table ``answered_requests``.

    Args:
        connection: of the database that the effect changes; used by one thread at a time, without
            autocommit, and without an open transaction.
        placeholder: the parameter marker of the driver: "?" for sqlite3, "%s" for psycopg.
    """

    def __init__(self, connection: Any, placeholder: str = "?") -> None:
        if _has_autocommit(connection):
            raise ValueError(
                "with autocommit, effect and reply cannot share a transaction; turn it off"
            )
        self._connection = connection
        self._placeholder = placeholder

    def once(self, request: Request, effect: Callable[[], Reply]) -> Reply:
        """
        Return the saved reply; the first time, run *effect* and save its reply.

        The changes of *effect* are committed together with its reply, or not at all; it must not
        commit. A concurrent delivery waits until the first one ends. When *effect* raises
        HandlerError, its changes are rolled back, and the error reply is saved and returned. After
        any other exception everything is rolled back, and the request counts as not handled.
        """
        try:
            while not self._begin(request):
                reply = self._find(request)
                if reply is not None:
                    return reply
            reply = self._run(request, effect)
            self._save(request, reply)
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise
        return reply

    def forget(self, before_ms: int) -> None:
        """Delete the requests whose deadline was before *before_ms* (Unix time), and commit."""
        self._execute("DELETE FROM answered_requests WHERE deadline_ms < {}", before_ms)
        self._connection.commit()

    def _begin(self, request: Request) -> bool:
        """Insert the row of *request* in a new transaction; return False if it exists."""
        # No SELECT first: two concurrent deliveries would both find nothing.
        try:
            self._execute(
                "INSERT INTO answered_requests (correlation_id, deadline_ms, reply) "
                "VALUES ({}, {}, {})",
                request.journal_id,
                # Without a deadline the row would be kept for ever.
                min(request.deadline_ms, round((time.time() + NO_DEADLINE_S) * 1000)),
                _NO_REPLY,
            )
        except Exception as error:
            if not _is_integrity_error(error):
                raise
            self._connection.rollback()
            return False
        return True

    def _find(self, request: Request) -> Reply | None:
        row = self._execute(
            "SELECT reply FROM answered_requests WHERE correlation_id = {}", request.journal_id
        ).fetchone()
        # Some drivers open a transaction to read.
        self._connection.rollback()
        if row is None:
            return None  # deleted since by forget()
        if bytes(row[0]) == _NO_REPLY:
            raise RuntimeError(
                f"{request.correlation_id} was begun and its reply never saved: the effect "
                "committed the transaction, which it must not"
            )
        saved = encoding.from_bytes(request.journal_id, bytes(row[0]))
        return replace(saved, correlation_id=request.correlation_id)

    def _run(self, request: Request, effect: Callable[[], Reply]) -> Reply:
        self._execute("SAVEPOINT before_effect")
        try:
            return effect()
        except HandlerError as error:
            self._execute("ROLLBACK TO SAVEPOINT before_effect")
            # Saved too: the client has this error, so a later delivery must not succeed.
            return error.reply_to(request)

    def _save(self, request: Request, reply: Reply) -> None:
        self._execute(
            "UPDATE answered_requests SET reply = {} WHERE correlation_id = {}",
            encoding.to_bytes(replace(reply, correlation_id=request.journal_id)),
            request.journal_id,
        )

    def _execute(self, statement: str, *parameters: object) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement.replace("{}", self._placeholder), parameters)
        return cursor


def _is_integrity_error(error: Exception) -> bool:
    # By the name that PEP 249 defines, so that no driver has to be imported.
    return any(kind.__name__ == "IntegrityError" for kind in type(error).__mro__)


def _has_autocommit(connection: Any) -> bool:
    if isinstance(connection, sqlite3.Connection) and connection.isolation_level is None:
        return getattr(connection, "autocommit", True) is not False
    return getattr(connection, "autocommit", False) is True
