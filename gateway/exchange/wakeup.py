"""Wake-up sources of the reply poller: timeout, new waiter, Redis notification."""

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
from rendezvous.process.throttled_log import HOURLY_S, ThrottledLog

logger = logging.getLogger(__name__)

#: Pause before subscribing again after a failure, in seconds.
RESUBSCRIBE_PAUSE_S = 30.0


class Notifications(Protocol):
    """A subscription to the notifications of Redis."""

    def fileno(self) -> int:
        """Return the file descriptor, which is readable when a notification has arrived."""

    def take(self) -> bool:
        """Discard all notifications that have arrived; return whether more can come."""

    def check(self) -> bool:
        """Keep the idle subscription alive; return whether notifications can still arrive."""

    def close(self) -> None:
        """End the subscription."""


class WakeReason(Enum):
    """Why the poller woke up."""

    TIMEOUT = auto()
    NEW_WAITER = auto()  # or another call of wake()
    NOTIFICATION = auto()


class PollerWakeup:
    """
    Puts the poller to sleep and wakes it.

    Args:
        subscribe: subscribes to notifications, or raises StoreUnavailable; None to do without.
    """

    def __init__(self, subscribe: Callable[[], Notifications] | None = None) -> None:
        self._subscribe = subscribe
        self._log = ThrottledLog(logger, HOURLY_S)
        self._notifications: Notifications | None = None
        self._notifications_fd = -1
        self._subscribed_s = -math.inf  # time of the last attempt
        # A byte in this pair is a call of wake().
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._without_notifications = _poll_of(self._receiver)
        self._with_notifications = _poll_of(self._receiver)

    def wake(self) -> None:
        """Wake the poller now or at its next wait(); from any thread."""
        # A full buffer wakes it as well; after close() there is no poller to wake.
        with contextlib.suppress(OSError):
            self._sender.send(b"!")

    def wait(self, timeout_s: float, *, with_notifications: bool = True) -> WakeReason:
        """Sleep for *timeout_s* or until woken; return the reason."""
        until_s = time.monotonic() + timeout_s
        # poll() rounds up to milliseconds: it gets the whole ones, and sleep() the rest.
        timeout_ms = max(int(timeout_s * 1000), 0)
        reason = self._poll(
            self._with_notifications if with_notifications else self._without_notifications,
            timeout_ms,
        )
        if reason is WakeReason.TIMEOUT and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(left_s)
        return reason

    def take_notification(self) -> bool:
        """Discard a notification that arrived since wait(); return whether there was one."""
        return (
            self._notifications is not None
            and self._poll(self._with_notifications, 0) is WakeReason.NOTIFICATION
        )

    @property
    def is_subscribed(self) -> bool:
        """Whether notifications can arrive."""
        return self._notifications is not None

    def subscribe(self) -> None:
        """Subscribe to notifications, unless subscribed or tried in RESUBSCRIBE_PAUSE_S."""
        if self._notifications is not None and not self._notifications.check():
            self._unsubscribe()
            self._subscribed_s = -math.inf  # no pause: subscribing did not fail
        if self._subscribe is None or self._notifications is not None:
            return
        now_s = time.monotonic()
        if now_s - self._subscribed_s < RESUBSCRIBE_PAUSE_S:
            return
        self._subscribed_s = now_s
        try:
            self._notifications = self._subscribe()
        except StoreUnavailable as error:
            self._log.info("%s; polling for replies without notifications", error)
            return
        self._notifications_fd = self._notifications.fileno()
        self._with_notifications.register(self._notifications_fd, select.POLLIN)

    def close(self) -> None:
        """Close the subscription and the sockets."""
        self._unsubscribe()
        self._receiver.close()
        self._sender.close()

    def _poll(self, poll: select.poll, timeout_ms: int) -> WakeReason:
        reason = WakeReason.TIMEOUT
        for fd, _ in poll.poll(timeout_ms):
            if fd != self._notifications_fd:
                with contextlib.suppress(BlockingIOError):
                    self._receiver.recv(4096)
                return WakeReason.NEW_WAITER
            if self._notifications is not None and not self._notifications.take():
                self._unsubscribe()
            reason = WakeReason.NOTIFICATION
        return reason

    def _unsubscribe(self) -> None:
        if self._notifications is not None:
            self._with_notifications.unregister(self._notifications_fd)
            self._notifications.close()
            self._notifications, self._notifications_fd = None, -1


def _poll_of(sock: socket.socket) -> select.poll:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll
