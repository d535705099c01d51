"""
RedisJournal: a journal in Redis, for handlers without a database.

Two keys per request: a claim that expires after CLAIM_MS, and the saved reply. It prevents that a
second delivery is handled; it does not know whether a process died before or after its effect.
"""

import logging
import secrets
import threading

from redis import Redis

from rendezvous import encoding
from rendezvous.contract import Reply
from rendezvous.errors import StoreUnavailable
from rendezvous.process.throttled_log import ThrottledLog
from rendezvous.redis_store.client import execute
from responder.dedup.journal import InProgress

logger = logging.getLogger(__name__)

#: Time to live of a claim, in ms. Below the session timeout of the consumer group: when the
#: requests of a dead process are redelivered, its claims have expired.
CLAIM_MS = 5_000
#: Pause between two renewals of the claims of slow handlers, in seconds.
RENEW_PAUSE_S = 1.5


class RedisJournal:
    """
    A responder.dedup.journal.Journal in Redis; call start() before use.

    Args:
        group: the consumer group that the journal is for. Groups that read the same requests have
            independent journals.
        ttl_s: how long a reply is remembered, in seconds.
    """

    def __init__(self, redis: Redis, group: str, ttl_s: float) -> None:
        self._redis = redis
        self._group = group
        self._ttl_ms = round(ttl_s * 1000)
        self._owner = secrets.token_hex(8)
        self._claims: dict[str, str] = {}  # owner by the id of a request that is being handled
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._renewer = threading.Thread(target=self._renew_all, name="claims", daemon=True)
        self._log = ThrottledLog(logger)

    def start(self) -> None:
        """Start the thread that renews the claims of slow handlers."""
        self._renewer.start()

    def close(self) -> None:
        """Stop renewing."""
        self._closed.set()
        self._renewer.join()

    def begin(self, correlation_id: str) -> Reply | None:
        """Return the saved reply, or None when this thread must handle it; see Journal."""
        with self._lock:
            if correlation_id in self._claims:  # it waits for another attempt
                raise InProgress(correlation_id)
        owner = self._thread_owner()
        claim_key = self._key("handling", correlation_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(claim_key, owner, nx=True, px=CLAIM_MS)
        # Read back: the answer to an earlier SET of this thread may have been lost.
        pipeline.get(claim_key)
        # After the claim: its previous owner has saved by now, or never will.
        pipeline.get(self._key("answered", correlation_id))
        _, claimed_by, value = execute(pipeline)
        if value is not None:
            return encoding.from_bytes(correlation_id, value)
        if claimed_by != owner.encode():
            raise InProgress(correlation_id)
        with self._lock:
            self._claims[correlation_id] = owner
        return None

    def save(self, correlation_id: str, reply: Reply) -> Reply:
        """Save *reply*, or return the one that is saved already; see Journal."""
        key = self._key("answered", correlation_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(key, encoding.to_bytes(reply), nx=True, px=self._ttl_ms)
        pipeline.get(key)
        _, value = execute(pipeline)
        return reply if value is None else encoding.from_bytes(correlation_id, value)

    def end(self, correlation_id: str) -> None:
        """Stop renewing the claim. It is left to expire: a saved reply takes precedence."""
        with self._lock:
            self._claims.pop(correlation_id, None)

    def _renew_all(self) -> None:
        while not self._closed.wait(RENEW_PAUSE_S):
            try:
                self._renew()
            except StoreUnavailable as error:
                self._log.warning("the claims on running requests are not renewed (%s)", error)
            except Exception:
                # The thread must survive: without claims a second delivery would be handled.
                logger.exception("renewing the claims on running requests failed; trying again")

    def _renew(self) -> None:
        # With the lock, so that a claim is not renewed after its end(): a redelivery would wait.
        with self._lock:
            pipeline = self._redis.pipeline(transaction=False)
            for correlation_id, owner in self._claims.items():
                # An expired one too: the request is still being handled here.
                pipeline.set(self._key("handling", correlation_id), owner, px=CLAIM_MS)
            execute(pipeline)

    def _thread_owner(self) -> str:
        # A thread handles one request at a time, so its own claims are never in progress.
        return f"{self._owner}.{threading.get_ident()}"

    def _key(self, kind: str, correlation_id: str) -> str:
        # The hash tag keeps both keys of a request in one slot of a Redis Cluster.
        return f"{kind}:{self._group}:{{{correlation_id}}}"
