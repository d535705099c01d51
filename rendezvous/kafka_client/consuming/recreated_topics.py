"""Finds topics that were deleted and created again while being read."""

import time
from collections.abc import Callable, Iterable
from uuid import UUID

#: Interval of comparing the ids, in seconds. They change when the library updates its metadata.
CHECK_INTERVAL_S = 1.0


class RecreatedTopics:
    """
    Compares the ids of topics with those found before.

    Args:
        topic_id: returns the id that the brokers gave to a topic; None when it is unknown.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, topic_id: Callable[[str], UUID | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._topic_id = topic_id
        self._clock = clock
        self._checked_s = clock()
        self._known: dict[str, UUID] = {}

    def is_due(self) -> bool:
        """Return whether it is time for the next find()."""
        return self._clock() - self._checked_s >= CHECK_INTERVAL_S

    def find(self, topics: Iterable[str]) -> set[str]:
        """Return those of *topics* that were recreated since the last call."""
        self._checked_s = self._clock()
        recreated = set()
        for topic in topics:
            found = self._topic_id(topic)
            if found is None or not found.int:
                continue  # the topic is missing, or the broker is too old for ids
            if self._known.setdefault(topic, found) != found:
                self._known[topic] = found
                recreated.add(topic)
        return recreated
