"""
A selector whose get_key() is cheap when there is no key.

Bug: kafka-python 3.0 asks for the key of a socket before each wait, and mostly there is none. The
standard library then describes the socket in its KeyError, with two system calls.
Reproduce: test_fast_selector.py in tests/unit/rendezvous/kafka_client/patches.
Effect: a wait takes 16 us less, of 22 us; measured together with prompt_client.py, see there.
Remove: when the library uses get_map() or keeps its own keys. On its main branch (3.1) the option
``selector`` is deprecated in favour of ``net``. Only the standard library is used here.
"""

from selectors import DefaultSelector, SelectorKey
from typing import Any


class FastSelector(DefaultSelector):
    """The selector of the platform, for the option ``selector`` of kafka-python."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[Any, SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """See selectors.BaseSelector."""
        key = self._keys[fileobj] = super().register(fileobj, events, data)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """See selectors.BaseSelector."""
        key = self._keys[fileobj] = super().modify(fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """See selectors.BaseSelector."""
        self._keys.pop(fileobj, None)
        return super().unregister(fileobj)

    def get_key(self, fileobj: Any) -> SelectorKey:
        """Return the key of *fileobj*, or raise a KeyError without a message."""
        return self._keys[fileobj]

    def close(self) -> None:
        """See selectors.BaseSelector."""
        self._keys.clear()
        super().close()
