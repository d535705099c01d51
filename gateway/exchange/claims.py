"""
Claims on idempotency keys: one small Redis key each, shared by all replicas.

A claim is made in two steps. take() claims the key for TAKEN_MS, so that neither a process that
dies nor a lost answer of Redis blocks it for long. confirm() makes it last as long as the reply is
kept; only then is the request published.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from rendezvous.contract import Request
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.client import execute, store_unavailable

#: Time to live of a claim that is not confirmed. Usually both steps take a millisecond; a claim
#: that expires in between is taken again.
TAKEN_MS = 1_000


@dataclass(frozen=True, slots=True)
class Claim:
    """The request that holds an idempotency key."""

    fingerprint: str  # equal for a retry, different for any other request with the same key
    correlation_id: str  # of the request; no two claims share one

    @classmethod
    def of(cls, request: Request, caller: str = "") -> "Claim":
        """Return the claim of *request* by *caller*."""
        return cls(fingerprint_of(request, caller), request.correlation_id)


def claim_name(owner: str, key: str) -> str:
    """Return the name under which *key* is claimed; different for each client and caller."""
    return sha256(f"{owner}\0{key}".encode()).hexdigest()


def fingerprint_of(request: Request, caller: str = "") -> str:
    """
    Return a hash of what a retry shares with the first request.

    Forwarded headers do not count, since a retry may have another request id; the record key does,
    even when a header sets it.
    """
    parts = (
        request.method.encode(),
        request.path.encode(),
        request.query.encode(),
        request.content_type,
        request.body,
        request.key,
    )
    digest = sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # With its length, so that moving bytes from one part to the next changes the hash.
        digest.update(b"-" if data is None else b"%d:" % len(data) + data)
    if caller:
        digest.update(caller.encode())
    return digest.hexdigest()


class Claims:
    """
    Claims in Redis. Safe to use from several threads, and after a fork.

    Args:
        deployment: separates the claims of deployments that share one Redis.
    """

    def __init__(self, redis: Redis, deployment: str) -> None:
        self._redis = redis
        self._deployment = deployment

    def take(self, name: str, claim: Claim) -> Claim | None:
        """
        Claim *name* for TAKEN_MS unless it is claimed; return the current claim.

        Returns None if a competing claim has just expired; retry.

        Raises:
            StoreUnavailable: when it is unknown whether *name* is claimed; it is free again soon.
        """
        key = self._key(name)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(key, _to_bytes(claim), nx=True, px=TAKEN_MS)
        # Read back, whatever SET returns: redis-py may have retried it, and the first try may have
        # claimed the key.
        pipeline.get(key)
        return self._current_after(pipeline)

    def confirm(self, name: str, claim: Claim, ttl_ms: int) -> Claim | None:
        """
        Make the claim on *name* last for *ttl_ms*; return the current claim.

        That is *claim*, unless it has expired since it was taken.

        Raises:
            StoreUnavailable: when it is unknown how long the claim lasts.
        """
        key = self._key(name)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.pexpire(key, ttl_ms)
        pipeline.get(key)
        return self._current_after(pipeline)

    def current(self, name: str) -> Claim | None:
        """Return the current claim on *name*, or None; StoreUnavailable if Redis fails."""
        try:
            return _from_bytes(self._redis.get(self._key(name)))
        except RedisError as error:
            raise store_unavailable(error) from error

    def is_current(self, name: str, claim: Claim) -> bool:
        """Return whether *claim* is current on *name*; StoreUnavailable if Redis fails."""
        return self.current(name) == claim

    def release(self, name: str, claim: Claim) -> None:
        """
        Delete *claim* on *name*; the claim of another request stays.

        Raises:
            StoreUnavailable: when it is unknown whether it is deleted.
        """
        key = self._key(name)

        def delete_if_current(pipeline: Pipeline) -> None:
            is_current = pipeline.get(key) == _to_bytes(claim)
            pipeline.multi()
            if is_current:
                pipeline.delete(key)

        try:
            self._redis.transaction(delete_if_current, key)
        except RedisError as error:
            raise store_unavailable(error) from error

    def _key(self, name: str) -> str:
        return f"once:{self._deployment}:{name}"

    def _current_after(self, pipeline: Pipeline) -> Claim | None:
        return _from_bytes(execute(pipeline)[-1])


class ClaimsOfTwoKeys(Claims):
    """
    Claims while SECRET_KEY is being replaced: under the names of the old and of the new key.

    A replica that knows only one of the keys finds them. All replicas claim the two in the same
    order, so that of competing requests one gets both.
    """

    def __init__(self, redis: Redis, deployments: Iterable[str]) -> None:
        self._each = [Claims(redis, deployment) for deployment in sorted(deployments)]

    def take(self, name: str, claim: Claim) -> Claim | None:
        """As Claims.take()."""
        return self._on_each(name, claim, lambda claims: claims.take(name, claim))

    def confirm(self, name: str, claim: Claim, ttl_ms: int) -> Claim | None:
        """As Claims.confirm()."""
        return self._on_each(name, claim, lambda claims: claims.confirm(name, claim, ttl_ms))

    def current(self, name: str) -> Claim | None:
        """As Claims.current()."""
        return next(filter(None, (claims.current(name) for claims in self._each)), None)

    def is_current(self, name: str, claim: Claim) -> bool:
        """As Claims.is_current(); a replica with one key has claimed only under that."""
        return any(claims.is_current(name, claim) for claims in self._each)

    def release(self, name: str, claim: Claim) -> None:
        """As Claims.release()."""
        for claims in self._each:
            claims.release(name, claim)

    def _on_each(
        self, name: str, claim: Claim, act: Callable[[Claims], Claim | None]
    ) -> Claim | None:
        for claims in self._each:
            current = act(claims)
            if current != claim:
                self.release(name, claim)
                return current
        return claim


def claims_of(redis: Redis, deployments: Sequence[str]) -> Claims:
    """Return the claims of a gateway that accepts one SECRET_KEY, or two."""
    return (
        Claims(redis, *deployments)
        if len(deployments) == 1
        else ClaimsOfTwoKeys(redis, deployments)
    )


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
            "a Redis key under once: holds a malformed claim; find out what else writes it"
        ) from error
