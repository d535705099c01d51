"""The connections of a worker, within limits of number, time and memory."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.server.connection_counts import FairShare
from gateway.server.http import refusals
from gateway.server.http.parser import ReadsBody
from gateway.server.http.refusals import MAX_HEAD_BYTES, Limits
from rendezvous.process.throttled_log import ThrottledLog

if TYPE_CHECKING:
    from gateway.server.http.channel import Channel

#: How long a worker that drains waits for incomplete and for further requests, in seconds.
DRAIN_READ_S = 1.0
#: Connections above the limit before one that may be in use is closed for a new one.
HEADROOM = 256


class Connections:
    """
    The open connections of a worker process; used by its main loop.

    When a limit of number or memory is reached, those go first that hold most and give least.

    Args:
        threads: number of the largest requests that fit into the memory for incomplete ones, and
            of the largest responses that fit into the memory for unread ones.
        keepalive_s: how long a connection may be idle between requests; 0 to close each.
        share: this worker's share of all connections.
        count_request: called with each request that reaches the application.
        reads_body: whether to read the body that a request with these headers announces.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        threads: int,
        max_connections: int,
        keepalive_s: float,
        log: Any,
        share: FairShare,
        count_request: Callable[[], None],
        reads_body: ReadsBody,
    ) -> None:
        self.limits = limits
        self.max_held_bytes = threads * (limits.max_body_bytes + MAX_HEAD_BYTES)
        self.max_unread_bytes = threads * max(limits.max_body_bytes, limits.max_reply_bytes)
        self.max_connections = max_connections
        self.keepalive_s = keepalive_s
        self.log = log
        self._share = share
        #: For what clients can cause as often as they like.
        self.events = ThrottledLog(log.error_log)
        self.count_request = count_request
        self.reads_body = reads_body
        self.channels: set[Channel] = set()
        #: Bytes of incomplete requests.
        self.held_bytes = 0
        #: From here on clients without a complete request are refused; infinite before a drain.
        self.drain_until_s = float("inf")

    @property
    def draining(self) -> bool:
        """Whether each connection closes with its next response."""
        return self.drain_until_s != float("inf")

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as allowed."""
        return len(self.channels) >= self.max_connections

    @property
    def room(self) -> int | None:
        """How many more are this worker's fair share; None for any number."""
        return self._share.room(len(self.channels))

    def add(self, channel: "Channel") -> None:
        """Add a new connection."""
        self.channels.add(channel)
        self._share.update(len(self.channels))

    def remove(self, channel: "Channel") -> None:
        """Remove a connection that is closed."""
        self.channels.discard(channel)
        if not self.draining:
            self._share.update(len(self.channels))

    def make_room(self) -> None:
        """Close a connection if there are as many as allowed."""
        if self.is_full:
            self.close_one()

    def close_one(self) -> None:
        """
        Close the connection that is of least use: silent, idle, incomplete for the longest.

        One that may be in use is closed only HEADROOM above the limit.
        """
        now_s = time.monotonic()
        at_any_cost = len(self.channels) >= self.max_connections + HEADROOM
        unused = [channel for channel in self.channels if not channel.is_answering]
        if unused:
            least = min(unused, key=lambda channel: (channel.use(now_s), channel.since_s))
            if at_any_cost or not least.is_in_use(now_s):
                least.abort()
                return
        unread = [c for c in self.channels if c.total_outbufs_len and not c.requests]
        if unread:
            slowest = min(unread, key=lambda channel: channel.progress_s)
            if at_any_cost or slowest.is_unread(now_s):
                slowest.abort()

    def hold(self, channel: "Channel", size: int) -> None:
        """Count the *size* bytes of an incomplete request; refuse some if all are too many."""
        if channel not in self.channels:
            return  # closed meanwhile: they would never be released
        self.held_bytes += size - channel.held_bytes
        channel.held_bytes = size
        while self.held_bytes > self.max_held_bytes:
            now_s = time.monotonic()
            holders = [other for other in self.channels if other.held_bytes]
            # The largest and slowest: a small or a fast one is not the reason.
            worst = max(holders, key=lambda other: other.held_bytes * (now_s - other.begun_s))
            worst.refuse(refusals.too_many_bytes_held())

    def release(self, channel: "Channel") -> None:
        """Forget the bytes of a request that is complete or refused."""
        self.held_bytes -= channel.held_bytes
        channel.held_bytes = 0

    def drain(self) -> None:
        """Give clients DRAIN_READ_S to complete what they send; then close."""
        self._share.leave()
        self.drain_until_s = time.monotonic() + DRAIN_READ_S

    def sweep(self, now_s: float) -> None:
        """Refuse requests that are too slow, close what is idle for too long."""
        if not self.draining:
            self._share.update(len(self.channels))
        for channel in list(self.channels):
            channel.enforce_deadline(now_s)
        self.limit_unread_bytes()

    def limit_unread_bytes(self) -> None:
        """
        Close connections with unread responses, the slowest first, until the rest fits.

        Those whose client reads are closed only above twice the limit.
        """
        unread = [channel for channel in self.channels if channel.total_outbufs_len]
        unread_bytes = sum(channel.total_outbufs_len for channel in unread)
        if unread_bytes <= self.max_unread_bytes:
            return
        now_s = time.monotonic()
        for channel in sorted(unread, key=lambda channel: channel.progress_s):
            factor = 1 if channel.is_unread(now_s) else 2
            if unread_bytes <= factor * self.max_unread_bytes:
                return
            unread_bytes -= channel.total_outbufs_len
            self.events.warning(
                "%s: unread_bytes=%d: its response is not read; closing",
                channel.peer,
                channel.total_outbufs_len,
            )
            channel.abort()
