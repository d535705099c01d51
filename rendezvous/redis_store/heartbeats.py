"""
What the replies processes say of the way back, for gateways to know whether a reply would arrive.

Each leaves a word in Redis for every partition that it reads, and renews it. A partition whose word
has run out is read by nobody: its reader hangs, or is gone and has no successor yet. So a gateway
knows the state of other processes without reaching into them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rendezvous.correlation import epoch_ms
from rendezvous.redis_store.replies import ReplyStore

#: How long a word holds.
HOLDS_S = 10


@dataclass(frozen=True, slots=True)
class PathState:
    """
    The way back, as its readers see it.

    Attributes:
        unread: the partitions of the reply topic that nobody reads.
        lag_s: how late the latest of the readers is.
        clock_ahead_s: by how much a reader's clock is ahead of ours; negative when behind.
    """

    unread: tuple[int, ...]
    lag_s: float
    clock_ahead_s: float


class ReplyPathHeartbeats:
    """
    The words about one reply topic, for those who leave them and those who look for them.

    Args:
        store: where they are left.
        topic: the reply topic, with its prefix.
    """

    def __init__(self, store: ReplyStore, topic: str) -> None:
        self._store = store
        # The hash tag: words of one topic are asked for together, in a Redis Cluster too.
        self._name = f"{{{topic}}}"
        self._partitions: tuple[int, ...] = ()
        self.topic = topic

    def tell(self, partitions: int, lags_s: Mapping[int, float]) -> None:
        """
        Leave word.

        Args:
            partitions: how many partitions the topic has.
            lags_s: those that this process reads, with how late it is, in seconds.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        words = {self._name: json.dumps({"partitions": partitions, "clock_ms": epoch_ms()})}
        for partition, lag_s in lags_s.items():
            words[self._word(partition)] = json.dumps({"lag_s": round(lag_s, 3)})
        self._store.leave_heartbeats(words, HOLDS_S)

    def state(self) -> PathState | None:
        """
        Return the state of the way back, or None when nobody has left word of it.

        Raises:
            StoreUnavailable: when Redis refuses or does not answer.
        """
        numbers = self._partitions
        (topic, age_ms), *found = self._store.words(
            [self._name, *map(self._word, numbers)], HOLDS_S
        )
        told, now_ms = _parsed(topic), epoch_ms()
        if not told:
            return None
        self._partitions = tuple(range(int(told.get("partitions", 0))))
        if self._partitions != numbers:
            return self.state()
        lags_s = {
            n: _parsed(word).get("lag_s") for n, (word, _) in zip(numbers, found, strict=True)
        }
        return PathState(
            unread=tuple(number for number, lag_s in lags_s.items() if lag_s is None),
            lag_s=max((lag_s for lag_s in lags_s.values() if lag_s is not None), default=0.0),
            clock_ahead_s=(int(told.get("clock_ms", now_ms)) + age_ms - now_ms) / 1000,
        )

    def _word(self, partition: int) -> str:
        return f"{self._name}:{partition}"


def _parsed(word: bytes | None) -> dict[str, Any]:
    """Return what *word* says; nothing when there is none or it is not ours."""
    try:
        found = json.loads(word or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
