"""The sockets of a worker: waits until something can be done with one of them."""

import select
import selectors
from collections import deque
from typing import Any

from waitress import wasyncore


class Sockets(dict[int, Any]):
    """
    waitress's table of sockets, by file descriptor, and the main loop's way to wait for them.

    waitress's own loop asks each connection in each turn what it waits for. This one asks those
    that say so with note(): a turn costs the same with 10 idle connections as with 1,000.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = selectors.DefaultSelector()
        #: Those that may wait for something else now.
        self._changed: deque[Any] = deque()
        #: What each waits for.
        self._events: dict[int, int] = {}

    def __setitem__(self, fd: int, one: Any) -> None:
        super().__setitem__(fd, one)
        self._changed.append(one)

    def __delitem__(self, fd: int) -> None:
        super().__delitem__(fd)
        if self._events.pop(fd, 0):
            self._selector.unregister(fd)

    def note(self, one: Any) -> None:
        """Ask *one* in the next turn what it waits for; for any thread."""
        self._changed.append(one)

    def note_all(self) -> None:
        """Ask all in the next turn."""
        self._changed.extend(self.values())

    def turn(self, timeout_s: float) -> None:
        """Handle what happens within *timeout_s*, at least 0; return after the first events."""
        self._ask()
        for key, events in self._selector.select(timeout_s):
            one = key.data
            if self.get(key.fd) is not one:
                continue  # closed by an event of another one
            flags = (select.POLLIN if events & selectors.EVENT_READ else 0) | (
                select.POLLOUT if events & selectors.EVENT_WRITE else 0
            )
            wasyncore.readwrite(one, flags)

    def close(self) -> None:
        """Release the selector."""
        self._selector.close()

    def _ask(self) -> None:
        for _ in range(len(self._changed)):
            one = self._changed.popleft()
            fd = -1 if one.socket is None else one.socket.fileno()
            if fd not in self or self[fd] is not one:
                continue  # closed
            events = selectors.EVENT_READ if one.readable() else 0
            if one.writable() and not one.accepting:
                events |= selectors.EVENT_WRITE
            try:
                self._wait_for(fd, one, events)
            except OSError:  # the system has no memory for it now
                self._changed.append(one)

    def _wait_for(self, fd: int, one: Any, events: int) -> None:
        before = self._events.get(fd, 0)
        if events == before:
            return
        if not events:
            self._selector.unregister(fd)
        elif before:
            self._selector.modify(fd, events, one)
        else:
            self._selector.register(fd, events, one)
        self._events[fd] = events
