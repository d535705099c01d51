"""
A responder with an effect in a SQLite file, which kills itself at the moment it is told.

``EFFECTS_FILE`` is the database. ``EFFECTS_JOURNAL=sql`` shares its transaction with the reply.
``EFFECTS_PAUSE_S`` is how long the handler sleeps at most. ``DIE_AT`` is one of MOMENTS.
"""

import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from rendezvous.contract import Reply, Request
from responder import __main__ as responder
from responder.dedup.sql_journal import CREATE_TABLE_SQLITE, SqlJournal
from responder.registry import handles

MOMENTS = (
    "before the effect",
    "before the effect is committed",
    "after the effect",
    "before the reply",
    "after the reply",
    "before the offset is committed",
    "while the offset is committed",
)
#: Which requests the handler has seen, in which process, and which effects it had.
TABLES = (
    CREATE_TABLE_SQLITE,
    "CREATE TABLE IF NOT EXISTS deliveries (correlation_id TEXT, pid INTEGER)",
    "CREATE TABLE IF NOT EXISTS effects (correlation_id TEXT)",
)
#: Longer than any lock is held on a machine that is out of breath.
LOCK_LIMIT_S = 20.0


def connect(file: str) -> sqlite3.Connection:
    """Return a connection to the effects; what was committed outlives us, not the machine."""
    connection = sqlite3.connect(file, timeout=LOCK_LIMIT_S)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def die_at(moment: str) -> None:
    assert moment in MOMENTS
    if os.environ.get("DIE_AT") == moment:
        os.kill(os.getpid(), signal.SIGKILL)


@handles("effects")
def effect(request: Request) -> Reply:
    """Have one effect, and reply with its number."""
    with closing(connect(os.environ["EFFECTS_FILE"])) as database:
        database.execute(
            "INSERT INTO deliveries VALUES (?, ?)", (request.correlation_id, os.getpid())
        )
        database.commit()
        die_at("before the effect")
        time.sleep(random.random() * float(os.environ.get("EFFECTS_PAUSE_S", "0")))
        if os.environ.get("EFFECTS_JOURNAL") == "sql":
            reply = SqlJournal(database).once(request, lambda: have_effect(database, request))
        else:
            reply = have_effect(database, request)
            database.commit()
        die_at("after the effect")
        return reply


def have_effect(database: sqlite3.Connection, request: Request) -> Reply:
    number = database.execute("INSERT INTO effects VALUES (?)", (request.correlation_id,)).lastrowid
    die_at("before the effect is committed")
    return Reply.json(request, {"effect": number}, status=201)


class MortalProducer(KafkaProducer):  # type: ignore[misc]
    """Dies before or after a reply has reached the broker."""

    replied = False

    def send(self, *args: Any, **kwargs: Any) -> Any:
        die_at("before the reply")
        future = super().send(*args, **kwargs)
        future.get(timeout=20)
        MortalProducer.replied = True
        die_at("after the reply")
        return future


class MortalConsumer(KafkaConsumer):  # type: ignore[misc]
    """Dies before or right after the first offsets that count are on their way."""

    def commit_async(self, *args: Any, **kwargs: Any) -> Any:
        replied = MortalProducer.replied
        if replied:
            die_at("before the offset is committed")
        future = super().commit_async(*args, **kwargs)
        if replied:
            die_at("while the offset is committed")
        return future


if __name__ == "__main__":
    vars(responder).update(KafkaProducer=MortalProducer, KafkaConsumer=MortalConsumer)
    responder.main()
