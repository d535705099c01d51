"""The selector of our Kafka clients: one that does not make up error messages for nobody."""

from selectors import DefaultSelector, SelectorKey
from typing import Any


class FastSelector(DefaultSelector):
    """
    The platform's own, for the ``selector`` option of kafka-python.

    kafka-python asks for the key of a socket before each wait, and mostly there is none. The
    standard library then describes the socket, which takes two system calls, in an error that is
    caught at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[Any, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch *fileobj* for *events*; see selectors.BaseSelector."""
        key = self._keys[fileobj] = super().register(fileobj, events, data)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch *fileobj* for other *events*; see selectors.BaseSelector."""
        key = self._keys[fileobj] = super().modify(fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Watch *fileobj* no more; see selectors.BaseSelector."""
        self._keys.pop(fileobj, None)
        return super().unregister(fileobj)

    def get_key(self, fileobj: Any) -> SelectorKey:
        """Return the key of *fileobj*; a KeyError without any words when there is none."""
        return self._keys[fileobj]

    def close(self) -> None:
        """Let go of all."""
        self._keys.clear()
        super().close()
