"""
Keeps the latest of several values that a responder sends for one request.

A value that another may follow is no reply yet: it is kept beside the replies, by the offset of its
record, until the record that ends the stream. One key for each request keeps the latest value, in
whatever order and by however many processes the records are read.
"""

from collections.abc import Sequence
from dataclasses import replace

from redis import Redis

from rendezvous import encoding
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationId
from rendezvous.framework_replies import StreamPart
from rendezvous.redis_store.client import execute

#: A reply and its id.
Named = tuple[CorrelationId, Reply]


def is_unfinished(named: Named) -> bool:
    """Return whether a record alone is not the reply: an earlier value, or an end."""
    cid, reply = named
    return cid.is_stream and reply.part is not StreamPart.LAST


class Streams:
    """
    The latest value of each stream, in Redis. Safe to use from several threads, and after a fork.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def answers(self, replies: Sequence[Named], ttls_ms: Sequence[int]) -> list[Reply | None]:
        """
        Return the reply that each record leads to; None for a kept value.

        The answer that the end of a stream leads to is the latest value, if there is one.

        Args:
            ttls_ms: how long each value is kept, in milliseconds.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer; call it again.
        """
        self._keep(replies, ttls_ms)
        ends = [cid for cid, reply in replies if reply.part is StreamPart.END]
        pipeline = self._redis.pipeline(transaction=False)
        for cid in ends:
            pipeline.zrange(_key(cid), -1, -1)
        latest = iter(execute(pipeline) if ends else [])
        return [
            None if reply.part is StreamPart.VALUE else _answer(cid, reply, next(latest))
            for cid, reply in replies
        ]

    def _keep(self, replies: Sequence[Named], ttls_ms: Sequence[int]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        values = 0
        for (cid, reply), ttl_ms in zip(replies, ttls_ms, strict=True):
            if reply.part is StreamPart.VALUE:
                values += 1
                pipeline.zadd(_key(cid), {encoding.to_bytes(reply): reply.offset})
                pipeline.zremrangebyrank(_key(cid), 0, -2)
                pipeline.pexpire(_key(cid), ttl_ms)
        if values:
            execute(pipeline)


def _answer(cid: CorrelationId, end: Reply, latest: Sequence[bytes]) -> Reply:
    found = encoding.from_bytes(cid.text, latest[0]) if latest else end
    return replace(found, part=StreamPart.LAST)


def _key(cid: CorrelationId) -> str:
    # In the slot of the reply itself.
    return f"stream:{{{cid.node}}}:{cid.text}"
