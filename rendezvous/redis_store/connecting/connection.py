"""
Connections to Redis that are reopened when they are of no use any more.

A failover leaves them with the old primary, which is a replica now: it refuses writes and answers
reads from data that may be old. A load balancer forgets them while they are idle.
"""

import logging
import math
import time
from typing import Any

from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from rendezvous.process.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)

#: Minimum time between two questions of one connection for the role of its server, in seconds;
#: also between two failovers.
ROLE_PAUSE_S = 1.0

#: Errors of a server that is not, or not yet, the primary. MASTERDOWN is a ClusterDownError.
_WRONG_SERVER = (ReadOnlyError, BusyLoadingError, ClusterDownError, MovedError)
#: The same for errors without a class in redis-py. A primary that was cut off from its replicas,
#: one of which may have been promoted, answers NOREPLICAS; one that is demoted, UNBLOCKED.
_WRONG_SERVER_CODES = ("NOREPLICAS", "UNBLOCKED")


class Failovers:
    """When the connections of a pool last turned out to lead to the wrong server."""

    def __init__(self) -> None:
        self.last_s = -math.inf  # monotonic clock
        self._log = ThrottledLog(logger)

    def note(self, reason: str) -> None:
        """Make all connections that are open now outdated, at most once per ROLE_PAUSE_S."""
        now_s = time.monotonic()
        if now_s - self.last_s >= ROLE_PAUSE_S:
            self.last_s = now_s
            self._log.warning("Redis is not the primary (%s); reopening all connections", reason)


class ReopeningConnection(AbstractConnection):
    """
    A connection that the pool reopens before use when it has become useless.

    Never in the middle of a use: a transaction would lose what it watches.

    Args:
        failovers: shared by the connections of a pool; None for a node of a cluster, which answers
            MOVED when it is not the primary any more.
        max_idle_s: maximum time without an answer before it is reopened, in seconds.
    """

    def __init__(self, *, failovers: Failovers | None, max_idle_s: float, **options: Any) -> None:
        super().__init__(**options)
        self._failovers = failovers
        self.max_idle_s = max_idle_s
        self._opened_s = self._used_s = self._asked_s = -math.inf

    @property
    def is_outdated(self) -> bool:
        """Whether it was opened before the last failover."""
        return self._failovers is not None and self._opened_s <= self._failovers.last_s

    def connect(self) -> None:
        """Open it, or reopen it if it is of no use; the pool calls this before each use."""
        if self.is_connected and not self._is_usable():
            self.disconnect()  # type: ignore[no-untyped-call]
        super().connect()  # type: ignore[no-untyped-call]

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Open it unless it is open; see AbstractConnection."""
        if not self.is_connected:
            self._opened_s = self._used_s = self._asked_s = time.monotonic()
            super().connect_check_health(*args, **options)

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the answer to a command; after one of the wrong server it is not used again."""
        try:
            answer = super().read_response(*args, **options)
        except RedisError as error:
            self._leave_wrong_server(error)
            raise
        self._used_s = time.monotonic()
        if isinstance(answer, list):  # that of EXEC may contain errors
            for part in answer:
                self._leave_wrong_server(part)
        return answer

    def _leave_wrong_server(self, error: Any) -> None:
        if self._failovers is not None and _is_of_wrong_server(error):
            self._failovers.note(type(error).__name__)
            self.mark_for_reconnect()  # type: ignore[no-untyped-call]

    def _is_usable(self) -> bool:
        now_s = time.monotonic()
        if self.is_outdated or now_s - self._used_s > self.max_idle_s:
            return False
        if self._failovers is None or now_s - self._asked_s < ROLE_PAUSE_S:
            return True
        self._asked_s = now_s
        try:
            return not self.can_read() and not self._leads_to_replica(self._failovers)
        except RedisError:
            return False

    def _leads_to_replica(self, failovers: Failovers) -> bool:
        """Return whether its server is a replica; raise RedisError if it does not answer."""
        # HELLO, which no ACL can deny, because a replica answers PING as well.
        self.send_command("HELLO", self.protocol, check_health=False)  # type: ignore[no-untyped-call]
        try:
            answer = self.read_response()
        except ResponseError:  # of a server before 6.0, or a proxy
            return False
        fields = answer if isinstance(answer, dict) else _paired(answer)
        if fields.get(b"role", fields.get("role")) not in (b"replica", "replica"):
            return False
        failovers.note("its role is replica")
        return True


class TcpConnection(ReopeningConnection, Connection):
    """Over TCP."""


class TlsConnection(ReopeningConnection, SSLConnection):
    """Over TLS."""


class UnixConnection(ReopeningConnection, UnixDomainSocketConnection):
    """Over a Unix socket."""


def _paired(answer: list[Any]) -> dict[Any, Any]:
    return dict(zip(answer[::2], answer[1::2], strict=True))


def _is_of_wrong_server(error: Any) -> bool:
    return isinstance(error, _WRONG_SERVER) or (
        isinstance(error, ResponseError) and str(error).startswith(_WRONG_SERVER_CODES)
    )
