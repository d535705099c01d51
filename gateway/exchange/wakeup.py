"""What ends the sleep of the reply poller: its time, a newcomer, or a hint of Redis's."""

import contextlib
import logging
import math
import select
import socket
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from rendezvous.errors import StoreUnavailable
from rendezvous.process.throttled_log import SELDOM_S, ThrottledLog

logger = logging.getLogger(__name__)

#: The pause before Redis is asked for hints again after it did not give any.
ASK_AGAIN_S = 30.0


class Notifications(Protocol):
    """What the alarm needs of the hints of Redis's."""

    def fileno(self) -> int:
        """Return the file descriptor that can be read when there is a hint."""

    def take(self) -> bool:
        """Take all hints that are there; say whether more can come."""

    def close(self) -> None:
        """Listen no more."""


class WakeReason(Enum):
    """Why a sleep has ended."""

    IN_TIME = auto()
    RUNG = auto()
    HINTED = auto()


class PollerSleep:
    """
    The sleep of one thread.

    Args:
        new_hints: begins to listen for hints, or raises StoreUnavailable; None for none.
    """

    def __init__(self, new_hints: Callable[[], Notifications] | None = None) -> None:
        self._new_hints = new_hints
        self._log = ThrottledLog(logger, SELDOM_S)
        self._hints: Notifications | None = None
        self._hints_fd = -1
        self._asked_s = -math.inf
        self._bell, self._hammer = socket.socketpair()
        self._bell.setblocking(False)
        self._hammer.setblocking(False)
        self._bell_alone = _poll_of(self._bell)
        self._all = _poll_of(self._bell)

    def ring(self) -> None:
        """End the sleep, or the next one; from any thread."""
        # When it is full of rings that were not heard yet, one more changes nothing; when it is
        # closed, nobody sleeps any more.
        with contextlib.suppress(OSError):
            self._hammer.send(b"!")

    def sleep(self, pause_s: float, *, heed_hints: bool = True) -> WakeReason:
        """Return after *pause_s*, or sooner with the reason."""
        until_s = time.monotonic() + pause_s
        # In whole milliseconds, which it would round up; the rest is slept.
        pause_ms = max(int(pause_s * 1000), 0)
        woken = self._wait(self._all if heed_hints else self._bell_alone, pause_ms)
        if woken is WakeReason.IN_TIME and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(left_s)
        return woken

    def hinted(self) -> bool:
        """Say whether there are hints that nobody was woken by, and take them."""
        return self._hints is not None and self._wait(self._all, 0) is WakeReason.HINTED

    @property
    def listens(self) -> bool:
        """Whether hints can come."""
        return self._hints is not None

    def listen(self) -> None:
        """Ask Redis for hints, unless it gives them or was asked just now."""
        if self._new_hints is None or self._hints is not None:
            return
        now_s = time.monotonic()
        if now_s - self._asked_s < ASK_AGAIN_S:
            return
        self._asked_s = now_s
        try:
            self._hints = self._new_hints()
        except StoreUnavailable as error:
            self._log.info("%s; replies are looked for without hints until then", error)
            return
        self._hints_fd = self._hints.fileno()
        self._all.register(self._hints_fd, select.POLLIN)

    def close(self) -> None:
        """Let go of all."""
        self._forget_hints()
        self._bell.close()
        self._hammer.close()

    def _wait(self, what: select.poll, pause_ms: int) -> WakeReason:
        woken = WakeReason.IN_TIME
        for fd, _ in what.poll(pause_ms):
            if fd != self._hints_fd:
                self._hear()
                return WakeReason.RUNG
            if self._hints is not None and not self._hints.take():
                self._forget_hints()
            woken = WakeReason.HINTED
        return woken

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)

    def _forget_hints(self) -> None:
        if self._hints is not None:
            self._all.unregister(self._hints_fd)
            self._hints.close()
            self._hints, self._hints_fd = None, -1


def _poll_of(sock: socket.socket) -> select.poll:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll
