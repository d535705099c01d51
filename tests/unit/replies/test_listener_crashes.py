"""A listener that is killed at any record and step: its successor loses and changes nothing."""

import random
import threading

import pytest
from kafka import TopicPartition
from kafka.errors import CommitFailedError

from rendezvous.kafka_client.consuming.consumer import ResilientConsumer
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store.heartbeats import ReplyPathHeartbeats
from replies.listener import ReplyListener
from tests.fakes import EndingConsumer, FakeRecord

P0 = TopicPartition("replies", 0)
SEEDS = 20
RECORDS = 40
STEPS = ("before storing", "while storing", "between storing and committing")


class Killed(BaseException):
    """Stands for SIGKILL."""


class KillingStore:
    """The store of a process that is killed at record *fatal*, at *step*."""

    def __init__(self, store, kafka, fatal, step):
        self._store = store
        self._kafka = kafka
        self._fatal = fatal
        self._step = step
        self._seen = 0

    def put_many(self, replies):
        first, self._seen = self._seen, self._seen + len(replies)
        if not first <= self._fatal < self._seen:
            return self._store.put_many(replies)
        survivors = {"before storing": 0, "while storing": self._fatal - first + 1}
        self._store.put_many(replies[: survivors.get(self._step, len(replies))])
        # A killed process does not commit in its "finally".
        self._kafka.commit_error = CommitFailedError()
        raise Killed


def fed(records, rng, stop):
    """Return a consumer that returns *records* in batches of random sizes."""
    kafka = EndingConsumer(P0, stop)
    while records:
        size = rng.randint(1, 10)
        kafka.feed(*records[:size])
        records = records[size:]
    return kafka


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_successor_stores_the_missing_replies_and_changes_none(
    store, ids, new_id, redis, monkeypatch, seed, step
):
    monkeypatch.setattr("replies.listener.COMMIT_INTERVAL_S", 0.0)
    rng = random.Random(f"{seed} {step}")
    stop = threading.Event()
    bodies = {new_id(60_000).text: b"%d" % n for n in range(RECORDS)}
    records = [
        FakeRecord(body, [("correlation-id", cid.encode())], offset)
        for offset, (cid, body) in enumerate(bodies.items())
    ]
    kafka = fed(records, rng, stop)
    killing = KillingStore(store, kafka, rng.randrange(RECORDS), step)
    with pytest.raises(Killed):
        listener(kafka, killing, ids, redis).run(stop)
    committed = kafka.committed_offset(P0) or 0
    before = store.fetch_many(list(bodies))
    # Stored replies come again with another body, which must not replace the first one.
    again = [
        FakeRecord(b"again", r.headers, r.offset) if b"%d" % r.offset in _bodies(before) else r
        for r in records[committed:]
    ]
    stop.clear()
    successor = listener(fed(again, rng, stop), store, ids, redis)
    successor.run(stop)

    assert committed <= len(before)
    assert {cid: reply.body for cid, reply in store.fetch_many(list(bodies)).items()} == bodies
    assert successor.counts["duplicate"] == len(before) - committed


def _bodies(replies):
    return {reply.body for reply in replies.values()}


def listener(kafka, store, ids, redis):
    return ReplyListener(
        ResilientConsumer(kafka),
        store,
        ids,
        Watchdog("the test"),
        ReplyPathHeartbeats(redis, "replies", ("aa",)),
        max_reply_bytes=900_000,
    )
