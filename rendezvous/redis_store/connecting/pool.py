"""A bounded pool of connections to Redis, whose users wait for a free one."""

import threading
from contextlib import suppress
from typing import Any

from redis.connection import ConnectionPool
from redis.exceptions import MaxConnectionsError

#: Maximum time to wait for a free connection, in seconds. A command takes a millisecond; one that
#: Redis does not answer holds its connection for twice SOCKET_TIMEOUT_S at most.
FREE_WAIT_S = 1.0


class WaitingPool(ConnectionPool):
    """
    A ConnectionPool that makes a thread wait FREE_WAIT_S at most for a free connection.

    Not a BlockingConnectionPool, which closes idle connections while another thread takes them.
    """

    def reset(self) -> None:
        """Forget all connections; after a fork too."""
        self._free = threading.BoundedSemaphore(self.max_connections)
        super().reset()

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """Return a connection; raise MaxConnectionsError if none becomes free in time."""
        if not self._free.acquire(timeout=FREE_WAIT_S):
            raise MaxConnectionsError(
                f"none of {self.max_connections} connections was free for {FREE_WAIT_S:g} s"
            )
        # If it fails to connect, it calls release().
        return super().get_connection(*args, **options)

    def make_connection(self) -> Any:
        """Return a new connection."""
        try:
            return super().make_connection()
        except BaseException:
            self._free.release()
            raise

    def release(self, connection: Any) -> None:
        """Take a connection back."""
        try:
            super().release(connection)
        finally:
            with suppress(ValueError):  # taken before a fork, or given back twice
                self._free.release()
