"""
A journal in Redis, for handlers that have no database of their own.

Two keys for each request: who handles it, for a few seconds, and the saved reply. It keeps a second
delivery from running; it cannot tell whether a process died before or after its effect.
"""

import logging
import secrets
import threading

from redis import Redis
from redis.exceptions import RedisError

from rendezvous import encoding as saved
from rendezvous.contract import Reply
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.client import execute
from responder.dedup.journal import InProgress

logger = logging.getLogger(__name__)

#: How long a claim outlives the process that made it. Below the session timeout of the consumer
#: group: when the requests of a dead process come again, nobody waits for it any more.
CLAIM_MS = 5_000
RENEW_PAUSE_S = 1.5


class RedisJournal:
    """
    A responder.dedup.journal.Journal in Redis; start() before use.

    Args:
        redis: a client that returns bytes.
        group: the consumer group whose journal it is. Groups that read the same requests have
            effects of their own.
        ttl_s: how long a reply is remembered, in seconds.
    """

    def __init__(self, redis: Redis, group: str, ttl_s: float) -> None:
        self._redis = redis
        self._group = group
        self._ttl_ms = round(ttl_s * 1000)
        self._owner = secrets.token_hex(8)
        self._claims: dict[str, str] = {}  # the requests being handled, and who handles them
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._renewer = threading.Thread(target=self._renew_all, name="claims", daemon=True)
        self._warn = ThrottledLog(logger)

    def start(self) -> None:
        """Begin to renew the claims of handlers that take long."""
        self._renewer.start()

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()
        self._renewer.join()

    def begin(self, correlation_id: str) -> Reply | None:
        """Return the saved reply, or None when it is ours to handle; see Journal."""
        owner = self._thread()
        claim_key = self._key("handling", correlation_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(claim_key, owner, nx=True, px=CLAIM_MS)
        # Read back, for the answer to an earlier SET of ours may have been lost on its way.
        pipeline.get(claim_key)
        # After the claim: whoever held it before has saved by now, or never will.
        pipeline.get(self._key("answered", correlation_id))
        _, claimed_by, value = execute(pipeline)
        if value is not None:
            return saved.from_bytes(correlation_id, value)
        if claimed_by != owner.encode():
            raise InProgress(correlation_id)
        with self._lock:
            self._claims[correlation_id] = owner
        return None

    def save(self, correlation_id: str, reply: Reply) -> Reply:
        """Save *reply* unless one is saved already; return the one that is."""
        key = self._key("answered", correlation_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(key, saved.to_bytes(reply), nx=True, px=self._ttl_ms)
        pipeline.get(key)
        _, value = execute(pipeline)
        return reply if value is None else saved.from_bytes(correlation_id, value)

    def end(self, correlation_id: str) -> None:
        """Renew the claim no more. It is left to expire: once a reply is saved it means nothing."""
        with self._lock:
            self._claims.pop(correlation_id, None)

    def _renew_all(self) -> None:
        while not self._closed.wait(RENEW_PAUSE_S):
            with self._lock:
                claims = dict(self._claims)
            pipeline = self._redis.pipeline(transaction=False)
            for correlation_id, owner in claims.items():
                # Also when it has expired: it is true, the request is being handled here.
                pipeline.set(self._key("handling", correlation_id), owner, px=CLAIM_MS)
            try:
                pipeline.execute()
            except RedisError as error:
                self._warn.warning("the claims on running requests are not renewed (%s)", error)

    def _thread(self) -> str:
        # A thread handles one request at a time: what it has claimed, nobody else is running.
        return f"{self._owner}.{threading.get_ident()}"

    def _key(self, kind: str, correlation_id: str) -> str:
        # The hash tag keeps both keys of a request in one slot of a Redis Cluster.
        return f"{kind}:{self._group}:{{{correlation_id}}}"
