"""
Reports readable sockets, each once per call of expect().

After a response, a thread calls expect() for the client's next request, and the main loop receives
it. With the selectors of the standard library the main loop would have to unregister the socket and
the thread to register it again: two system calls per request, at each of which the interpreter may
switch to another thread.
"""

import select
from selectors import EVENT_READ, DefaultSelector, SelectorKey
from typing import Any

Ready = list[tuple[SelectorKey, int]]


class EpollPoller:
    """
    The part of selectors.BaseSelector that gunicorn needs, on Linux.

    expect() may be called from any thread.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._once = select.EPOLLIN | select.EPOLLONESHOT
        self._keys: dict[int, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any) -> None:
        """Report *fileobj* whenever it can be read."""
        self._add(fileobj, data, select.EPOLLIN)

    def unregister(self, fileobj: Any) -> None:
        """Stop reporting *fileobj*; to be called before it is closed."""
        del self._keys[_fd(fileobj)]
        self._epoll.unregister(fileobj)

    def expect(self, fileobj: Any, data: Any) -> None:
        """Report *fileobj* once, when it can be read; *data* is the same in each call."""
        fd = _fd(fileobj)
        if fd in self._keys:
            self._epoll.modify(fd, self._once)
        else:
            self._add(fileobj, data, self._once)

    def forget(self, fileobj: Any) -> None:
        """Stop reporting *fileobj*, if it was expected; to be called before it is closed."""
        if _fd(fileobj) in self._keys:
            self.unregister(fileobj)

    def select(self, timeout_s: float | None = None) -> Ready:
        """Return what can be read, as soon as anything can, or after *timeout_s*."""
        found = self._epoll.poll(timeout_s, max(len(self._keys), 1))
        return [(self._keys[fd], EVENT_READ) for fd, _ in found]

    def close(self) -> None:
        """Stop reporting."""
        self._epoll.close()
        self._keys.clear()

    def _add(self, fileobj: Any, data: Any, mask: int) -> None:
        fd = _fd(fileobj)
        # Before the next line, after which the main loop may need it.
        self._keys[fd] = SelectorKey(fileobj, fd, EVENT_READ, data)
        self._epoll.register(fd, mask)


class PortablePoller(DefaultSelector):
    """The same with the standard library's selector, for other systems."""

    def __init__(self) -> None:
        super().__init__()
        self._expected: set[int] = set()

    def expect(self, fileobj: Any, data: Any) -> None:
        """Report *fileobj* once, when it can be read; *data* is the same in each call."""
        fd = _fd(fileobj)
        if fd not in self._expected:
            self._expected.add(fd)
            self.register(fileobj, EVENT_READ, data)

    def forget(self, fileobj: Any) -> None:
        """Stop reporting *fileobj*, if it was expected; to be called before it is closed."""
        if _fd(fileobj) in self._expected:
            self._expected.remove(_fd(fileobj))
            self.unregister(fileobj)

    def select(self, timeout: float | None = None) -> Ready:
        """Return what can be read, as soon as anything can, or after *timeout* seconds."""
        found = super().select(timeout)
        for key, _ in found:
            self.forget(key.fileobj)
        return found


def new_poller() -> EpollPoller | PortablePoller:
    """Return the fastest poller of this system."""
    return EpollPoller() if hasattr(select, "epoll") else PortablePoller()


def _fd(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
