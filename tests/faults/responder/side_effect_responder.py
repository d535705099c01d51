"""
A responder with a side effect in a SQLite file; it kills itself at the moment DIE_AT.

``EFFECTS_FILE`` is the database. With ``EFFECTS_JOURNAL=sql`` effect and reply share a transaction.
The handler sleeps for ``EFFECTS_WORK_S`` and for a random time up to ``EFFECTS_PAUSE_S``.
``DIE_AT`` is one of MOMENTS.
"""

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from typing import Any

from kafka import KafkaProducer

from rendezvous.contract import Reply, Request
from rendezvous.kafka_client.patches.consumer import PatchedConsumer
from responder import __main__ as responder
from responder.dedup.sql_journal import CREATE_TABLE_SQLITE, SqlJournal
from responder.registry import handles

MOMENTS = (
    "before the effect",
    "before the effect is committed",
    "after the effect",
    "before the reply",
    "before the acknowledgement",
    "after the acknowledgement",
    "before the offset is committed",
    "while the offset is committed",
)
#: Requests that the handler has received, with the process, and its effects.
TABLES = (
    CREATE_TABLE_SQLITE,
    "CREATE TABLE IF NOT EXISTS deliveries (correlation_id TEXT, pid INTEGER)",
    "CREATE TABLE IF NOT EXISTS effects (correlation_id TEXT)",
)
#: Longer than a lock is held on a slow machine, in seconds.
LOCK_LIMIT_S = 20.0


def connect(file: str) -> sqlite3.Connection:
    """Return a connection to the effects; commits survive the process, not the machine."""
    connection = sqlite3.connect(file, timeout=LOCK_LIMIT_S)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def die_at(moment: str) -> None:
    assert moment in MOMENTS
    if os.environ.get("DIE_AT") == moment:
        os.kill(os.getpid(), signal.SIGKILL)


def seconds(name: str) -> float:
    return float(os.environ.get(name, "0"))


@handles("effects")
def effect(request: Request) -> Reply:
    """Insert one effect, and reply with its number."""
    with closing(connect(os.environ["EFFECTS_FILE"])) as database:
        database.execute(
            "INSERT INTO deliveries VALUES (?, ?)", (request.correlation_id, os.getpid())
        )
        database.commit()
        die_at("before the effect")
        time.sleep(seconds("EFFECTS_WORK_S") + random.random() * seconds("EFFECTS_PAUSE_S"))
        if os.environ.get("EFFECTS_JOURNAL") == "sql":
            reply = SqlJournal(database).once(request, lambda: insert_effect(database, request))
        else:
            reply = insert_effect(database, request)
            database.commit()
        die_at("after the effect")
        return reply


def insert_effect(database: sqlite3.Connection, request: Request) -> Reply:
    number = database.execute("INSERT INTO effects VALUES (?)", (request.correlation_id,)).lastrowid
    die_at("before the effect is committed")
    return Reply.json(request, {"effect": number}, status=201)


class KillingProducer(KafkaProducer):  # type: ignore[misc]
    """Kills the process before a reply is sent, before it is acknowledged, or after it."""

    replied = False

    def send(self, *args: Any, **kwargs: Any) -> Any:
        die_at("before the reply")
        future = super().send(*args, **kwargs)
        die_at("before the acknowledgement")
        future.add_callback(self._acknowledged)
        return future

    def _acknowledged(self, _: object) -> None:
        # Before the responder learns of it.
        die_at("after the acknowledgement")
        KillingProducer.replied = True


class KillingConsumer(PatchedConsumer):
    """Kills the process before or right after the first commit behind a reply."""

    def commit_async(self, *args: Any, **kwargs: Any) -> Any:
        replied = KillingProducer.replied
        if replied:
            die_at("before the offset is committed")
        future = super().commit_async(*args, **kwargs)
        if replied:
            die_at("while the offset is committed")
        return future


if __name__ == "__main__":
    vars(responder).update(KafkaProducer=KillingProducer, PatchedConsumer=KillingConsumer)
    responder.main()
