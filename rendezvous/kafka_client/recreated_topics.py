"""
Topics that were deleted and made anew under a name that is being read.

A consumer knows its place by an offset. In a new topic of the same name that place means nothing:
kafka-python 3.0 takes the new topic for the old one cut short and goes on at its end, past records
that nobody has read.
"""

import time
from collections.abc import Callable, Iterable
from uuid import UUID

#: How often the identities are compared. They change when the library asks for its metadata.
LOOK_PAUSE_S = 1.0


class RecreatedTopics:
    """
    Tells which topics are no longer those that they were.

    Args:
        identity: returns the id that the brokers gave to a topic; None when they gave none.
        clock: seconds that only go up.
    """

    def __init__(
        self, identity: Callable[[str], UUID | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._looked_s = clock()
        self._known: dict[str, UUID] = {}

    def is_due(self) -> bool:
        """Say whether it is time to look."""
        return self._clock() - self._looked_s >= LOOK_PAUSE_S

    def look(self, topics: Iterable[str]) -> set[str]:
        """Return those of *topics* that were made anew since the last look."""
        self._looked_s = self._clock()
        renewed = set()
        for topic in topics:
            found = self._identity(topic)
            # Old brokers and missing topics have none.
            if found is None or not found.int:
                continue
            if self._known.setdefault(topic, found) != found:
                self._known[topic] = found
                renewed.add(topic)
        return renewed
