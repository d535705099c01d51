"""
Who has claimed an idempotency key: one small key each in the Redis that all replicas share.

A claim is made in two steps. Taken, it lasts for a moment only, so that neither a process that dies
nor a Redis whose answer is lost blocks the key. Confirmed, it lasts as long as the reply is kept;
only then is anything published.
"""

import json
from dataclasses import dataclass

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.client import execute, store_unavailable

#: How long a claim that is not confirmed lasts. The two steps are a millisecond apart; a claim that
#: is lost in between is taken again.
TAKEN_MS = 1_000


@dataclass(frozen=True, slots=True)
class Claim:
    """
    The request that a key stands for.

    Args:
        fingerprint: tells it from other requests that are sent with the same key.
        correlation_id: its id, under which its reply arrives. No two claims share one: so it also
            tells whose claim it is.
    """

    fingerprint: str
    correlation_id: str


class Claims:
    """
    Claims in Redis. Safe to use from several threads, and after a fork.

    Args:
        redis: a client that returns bytes.
        deployment: keeps the claims of deployments apart that use the same Redis.
    """

    def __init__(self, redis: Redis, deployment: str) -> None:
        self._redis = redis
        self._deployment = deployment

    def take(self, name: str, claim: Claim) -> Claim | None:
        """
        Claim *name* for a moment unless it is claimed; return the claim that holds now.

        None when the one that stood in the way has just gone: then take it again.

        Raises:
            StoreUnavailable: when it may not be claimed; it is free again soon.
        """
        key = self._key(name)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(key, _to_bytes(claim), nx=True, px=TAKEN_MS)
        # Read back whatever SET says: of one that was repeated, the first may have been ours.
        pipeline.get(key)
        return self._holder_after(pipeline)

    def confirm(self, name: str, claim: Claim, ttl_ms: int) -> Claim | None:
        """
        Make the claim on *name* last for *ttl_ms*; return the one that holds now.

        That is *claim*, unless so much time has passed since it was taken that it is lost.

        Raises:
            StoreUnavailable: when nobody knows how long it lasts now.
        """
        key = self._key(name)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.pexpire(key, ttl_ms)
        pipeline.get(key)
        return self._holder_after(pipeline)

    def holder(self, name: str) -> Claim | None:
        """
        Return the claim on *name* that holds now, or None.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        try:
            return _from_bytes(self._redis.get(self._key(name)))
        except RedisError as error:
            raise store_unavailable(error) from error

    def free(self, name: str, claim: Claim) -> None:
        """
        Give up *claim* on *name*; another's stays.

        Raises:
            StoreUnavailable: when it may not be given up.
        """
        key = self._key(name)

        def delete_if_ours(pipeline: Pipeline) -> None:
            is_ours = pipeline.get(key) == _to_bytes(claim)
            pipeline.multi()
            if is_ours:
                pipeline.delete(key)

        try:
            self._redis.transaction(delete_if_ours, key)
        except RedisError as error:
            raise store_unavailable(error) from error

    def _key(self, name: str) -> str:
        return f"once:{self._deployment}:{name}"

    def _holder_after(self, pipeline: Pipeline) -> Claim | None:
        return _from_bytes(execute(pipeline)[-1])


def _to_bytes(claim: Claim) -> bytes:
    return json.dumps([claim.fingerprint, claim.correlation_id]).encode()


def _from_bytes(value: object) -> Claim | None:
    if value is None:
        return None
    try:
        fingerprint, correlation_id = json.loads(bytes(value))  # type: ignore[call-overload]
        return Claim(str(fingerprint), str(correlation_id))
    except (RecursionError, TypeError, ValueError) as error:
        raise StoreUnavailable(
            "what Redis holds under once: is no claim: see who writes it"
        ) from error
