"""
Notifications: Redis tells a gateway process that replies for it have been stored, while it sleeps.

A hint is a reason to look now, never a reason not to look: Redis delivers it once or not at all. It
is a message without words on a channel of the process, over a connection of its own.
"""

import ssl
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from rendezvous.redis_store.pipeline import Command

#: A longer wait for the answer would keep the poller from its looks.
SUBSCRIBE_TIMEOUT_S = 0.25
_ANY_BYTES = 65_536


def channel_of(node: str) -> str:
    """Return the channel of the process that waits as *node*."""
    return f"replied:{node}"


def notify_commands(nodes: Iterable[str]) -> list[Command]:
    """Return what tells each of *nodes* once that there is something for it."""
    return [("PUBLISH", channel_of(node), b"") for node in dict.fromkeys(nodes)]


class Notifications:
    """
    The hints for one process, as something to wait for. For one thread.

    Args:
        redis: a client; the connection is none of its pool's while it is used here.
        node: the process.

    Raises:
        RedisError: when Redis does not answer, or denies the channel.
    """

    def __init__(self, redis: Redis, node: str) -> None:
        self._pubsub: Any = redis.pubsub()  # type: ignore[no-untyped-call]
        try:
            self._pubsub.subscribe(channel_of(node))
            if self._pubsub.get_message(timeout=SUBSCRIBE_TIMEOUT_S) is None:
                raise RedisError("SUBSCRIBE was not answered")
            # What comes is never read as messages: that there is something says it all.
            self._socket = self._pubsub.connection._sock
            self._socket.setblocking(False)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """Return the file descriptor that can be read when there is a hint."""
        number: int = self._socket.fileno()
        return number

    def take(self) -> bool:
        """Take all hints that are there; say whether more can come."""
        try:
            while self._socket.recv(_ANY_BYTES):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Listen no more."""
        self._pubsub.close()
