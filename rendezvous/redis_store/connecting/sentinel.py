"""Connections to the primary that Sentinels name, after each failover to the new one."""

import math
import threading
import time
from typing import Any

from redis.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError, RedisError
from redis.sentinel import MasterNotFoundError, Sentinel

from rendezvous.redis_store.connecting.connection import ReopeningConnection

#: Time between two questions for the primary while it is used, in seconds, and after one without
#: an answer.
ASK_PAUSE_S, FAILURE_PAUSE_S = 1.0, 5.0


class Primary:
    """
    Where the primary of a service is, by its Sentinels.

    Safe to use from several threads, which redis-py's Sentinel is not.

    Args:
        options: redis-py's options for each Sentinel.
    """

    def __init__(self, service: str, options: list[dict[str, Any]]) -> None:
        self._service = service
        hosts = [(one.pop("host"), one.pop("port")) for one in options]
        self._sentinel = Sentinel(hosts, sentinel_kwargs=options[0])  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._asked_s = -math.inf  # monotonic clock
        self._found: tuple[str, int] | ConnectionError = ConnectionError("not asked yet")

    def address(self) -> tuple[str, int]:
        """
        Return host and port of the primary.

        Raises:
            ConnectionError: when no Sentinel answers, or they know no primary.
        """
        now_s = time.monotonic()
        with self._lock:
            # What another thread asked meanwhile is as good.
            if self._asked_s <= now_s:
                self._asked_s = time.monotonic()
                self._found = self._ask()
            found = self._found
        if isinstance(found, ConnectionError):
            raise found.with_traceback(None)
        return found

    def has_moved(self, host: str, port: int) -> bool:
        """
        Return whether the primary is elsewhere now, as far as the Sentinels said lately.

        In a planned failover the old primary takes writes, which get lost, for 10 s.
        """
        pause_s = FAILURE_PAUSE_S if isinstance(self._found, ConnectionError) else ASK_PAUSE_S
        # One thread asks; the others go on.
        if time.monotonic() - self._asked_s >= pause_s and self._lock.acquire(blocking=False):
            try:
                self._asked_s = time.monotonic()
                self._found = self._ask()
            finally:
                self._lock.release()
        found = self._found
        return isinstance(found, tuple) and found != (host, port)

    def _ask(self) -> tuple[str, int] | ConnectionError:
        try:
            host, port = self._sentinel.discover_master(self._service)  # type: ignore[no-untyped-call]
        except MasterNotFoundError:
            return ConnectionError(self._problem())
        except RedisError as error:  # of a server that is no Sentinel
            return ConnectionError(f"no Sentinel answers: {error}")
        return str(host), int(port)

    def _problem(self) -> str:
        """Return why no primary was found."""
        problem = ""
        for sentinel in self._sentinel.sentinels:
            try:
                known = [str(name) for name in sentinel.sentinel_masters()]
            except RedisError as error:
                problem = str(error)
                continue
            if self._service in known:
                return "the Sentinels see no primary"
            return f"the Sentinels know no service {self._service!r}, but {', '.join(known)}"
        return f"no Sentinel answers: {problem}"


class _ToPrimary(ReopeningConnection):
    """
    A connection that asks for the address of the primary whenever it opens.

    Args:
        primary: shared by the connections of a pool.
    """

    host: str
    port: int

    def __init__(self, *, primary: Primary, **options: Any) -> None:
        super().__init__(**options)
        self._primary = primary

    def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Open it unless it is open; see AbstractConnection."""
        if not self.is_connected:
            self.host, self.port = self._primary.address()
        super().connect_check_health(*args, **options)

    def _is_usable(self) -> bool:
        return not self._primary.has_moved(self.host, self.port) and super()._is_usable()


class PlainToPrimary(_ToPrimary, Connection):
    """Without TLS."""


class TlsToPrimary(_ToPrimary, SSLConnection):
    """With TLS."""
