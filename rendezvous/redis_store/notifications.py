"""
Notifications: Redis wakes a gateway process when its replies are stored.

A notification is an empty message on the channel of one process. Redis delivers it at most once, so
it makes the next poll earlier and never replaces it.
"""

import logging
import math
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError

from rendezvous.process.throttled_log import HOURLY_S, ThrottledLog
from rendezvous.redis_store.client import store_unavailable
from rendezvous.redis_store.connection import ReopeningConnection

logger = logging.getLogger(__name__)

#: Maximum time to wait for the answer to SUBSCRIBE, in seconds; the reply poller is blocked by it.
SUBSCRIBE_TIMEOUT_S = 0.25
#: Maximum number of replies, stored together, that cause notifications. With more of them, their
#: processes have enough waiters to poll often anyway.
MAX_NOTIFIED = 8
#: The pause before notifications are sent again after Redis refused one, in seconds.
REFUSED_PAUSE_S = 60.0
#: Maximum time to wait for the answer to PING, in seconds.
PING_TIMEOUT_S = 1.0
#: Number of pings in the time after which an idle connection is forgotten.
PINGS_PER_MAX_IDLE = 3
_PING = b"*1\r\n$4\r\nPING\r\n"
_READ_BYTES = 65_536


class Notifier:
    """Notifies gateway processes in the pipeline that stores their replies."""

    def __init__(self) -> None:
        self._resume_s = 0.0  # monotonic clock
        self._log = ThrottledLog(logger, HOURLY_S)

    def add_to(self, pipeline: Pipeline, nodes: Sequence[str]) -> int:
        """
        Add a command for each process to *pipeline*; return their number.

        None for more than MAX_NOTIFIED replies, and for REFUSED_PAUSE_S after a refusal.

        Args:
            nodes: the process that waits for each reply.
        """
        if len(nodes) > MAX_NOTIFIED or time.monotonic() < self._resume_s:
            return 0
        receivers = dict.fromkeys(nodes)
        for node in receivers:
            pipeline.publish(_channel(node), b"")
        return len(receivers)

    def note(self, answers: Sequence[Any]) -> None:
        """Pause the notifications if one of *answers* to the commands is an error."""
        for answer in answers:
            if isinstance(answer, RedisError):
                self._log.info(
                    "%s; gateways notice replies later without notifications",
                    store_unavailable(answer),
                )
                self._resume_s = time.monotonic() + REFUSED_PAUSE_S
                return


class Notifications:
    """
    The notifications for one process, to be polled as a file. For one thread.

    Args:
        redis: a client; its pool is one connection short until close().

    Raises:
        StoreUnavailable: when Redis refuses the channel or does not answer.
    """

    def __init__(self, redis: Redis, node: str) -> None:
        self._pubsub: Any = redis.pubsub()  # type: ignore[no-untyped-call]
        try:
            self._pubsub.subscribe(_channel(node))
            if self._pubsub.get_message(timeout=SUBSCRIBE_TIMEOUT_S) is None:
                raise RedisError("SUBSCRIBE was not answered")
            self._connection: ReopeningConnection = self._pubsub.connection
            # From here on the bytes are discarded unparsed: their arrival is the notification.
            self._socket = _socket_of(self._connection)
            self._socket.setblocking(False)
            self._heard_s, self._pinged_s = time.monotonic(), -math.inf
        except RedisError as error:
            self.close()
            raise store_unavailable(error) from error
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable with a notification."""
        return self._socket.fileno()

    def check(self) -> bool:
        """
        Return whether notifications can still arrive; to be called about once per second.

        A PING keeps the idle connection alive, and its answer looks like a notification.
        """
        if self._connection.is_outdated:
            return False
        now_s = time.monotonic()
        if self._pinged_s > self._heard_s:
            if now_s - self._pinged_s < PING_TIMEOUT_S:
                return True
            # The answer may have arrived unnoticed: the poller does not always wait for it.
            return self.take() and self._heard_s > self._pinged_s
        if now_s - self._heard_s > self._connection.max_idle_s / PINGS_PER_MAX_IDLE:
            self._pinged_s = now_s
            try:
                self._socket.send(_PING)
            except OSError:
                return False
        return True

    def take(self) -> bool:
        """Discard the notifications that have arrived; False when the connection has ended."""
        try:
            while self._socket.recv(_READ_BYTES):
                self._heard_s = time.monotonic()
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """End the subscription and its connection."""
        self._pubsub.close()


def _channel(node: str) -> str:
    return f"replied:{node}"


def _socket_of(connection: Any) -> socket.socket:
    # redis-py has no public way to a socket that select() can wait for. Without one, a thread
    # blocked in get_message() would have to wake the poller: one more thread switch per reply.
    found: socket.socket = connection._sock
    return found
