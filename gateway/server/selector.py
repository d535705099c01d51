"""
Which clients have sent something: each is told of once, until somebody asks anew.

A thread that has answered asks for the next request of its client, and the main loop hears of it.
With the selectors of the standard library it would have to stop watching then, and the thread to
begin again: two system calls for a request, and for each of them others take the interpreter.
"""

import select
from selectors import EVENT_READ, DefaultSelector, SelectorKey
from typing import Any

Ready = list[tuple[SelectorKey, int]]


class EpollPoller:
    """
    As much of a selector (see selectors.BaseSelector) as gunicorn needs, on Linux.

    expect() may be called from any thread.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._once = select.EPOLLIN | select.EPOLLONESHOT
        self._keys: dict[int, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any) -> None:
        """Tell of *fileobj* whenever it can be read."""
        self._add(fileobj, data, select.EPOLLIN)

    def unregister(self, fileobj: Any) -> None:
        """Tell of *fileobj* no more; to be called before it is closed."""
        del self._keys[_fd(fileobj)]
        self._epoll.unregister(fileobj)

    def expect(self, fileobj: Any, data: Any) -> None:
        """Tell of *fileobj* once: when it can be read, or now if it can; always with one *data*."""
        fd = _fd(fileobj)
        if fd in self._keys:
            self._epoll.modify(fd, self._once)
        else:
            self._add(fileobj, data, self._once)

    def forget(self, fileobj: Any) -> None:
        """Tell of *fileobj* no more, if it was ever expected; to be called before it is closed."""
        if _fd(fileobj) in self._keys:
            self.unregister(fileobj)

    def select(self, timeout_s: float | None = None) -> Ready:
        """Return who can be read, as soon as anybody can, or after *timeout_s*."""
        found = self._epoll.poll(timeout_s, max(len(self._keys), 1))
        return [(self._keys[fd], EVENT_READ) for fd, _ in found]

    def close(self) -> None:
        """Let go of all."""
        self._epoll.close()
        self._keys.clear()

    def _add(self, fileobj: Any, data: Any, mask: int) -> None:
        fd = _fd(fileobj)
        # First: from the next line on the main loop may be told.
        self._keys[fd] = SelectorKey(fileobj, fd, EVENT_READ, data)
        self._epoll.register(fd, mask)


class PortablePoller(DefaultSelector):
    """The same by what the standard library finds elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._expected: set[int] = set()

    def expect(self, fileobj: Any, data: Any) -> None:
        """Tell of *fileobj* once: when it can be read, or now if it can; always with one *data*."""
        fd = _fd(fileobj)
        if fd not in self._expected:
            self._expected.add(fd)
            self.register(fileobj, EVENT_READ, data)

    def forget(self, fileobj: Any) -> None:
        """Tell of *fileobj* no more, if it was ever expected; to be called before it is closed."""
        if _fd(fileobj) in self._expected:
            self._expected.remove(_fd(fileobj))
            self.unregister(fileobj)

    def select(self, timeout: float | None = None) -> Ready:
        """Return who can be read, as soon as anybody can, or after *timeout* seconds."""
        found = super().select(timeout)
        for key, _ in found:
            self.forget(key.fileobj)
        return found


def new_poller() -> EpollPoller | PortablePoller:
    """Return the quickest poller that there is here."""
    return EpollPoller() if hasattr(select, "epoll") else PortablePoller()


def _fd(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
