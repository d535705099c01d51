"""Record keys that lead the reply to one partition, in which a gateway process waits for it."""

import itertools
import math
from collections import deque
from collections.abc import Sequence

from rendezvous.kafka_client.partitioning import (
    PARTITIONERS,
    crc32_partition,
    fnv1a_partition,
    murmur2_partition,
)

#: Largest average number of texts to try for one key, which takes milliseconds.
MAX_TRIES = 2_000
FASTEST_FIRST = (crc32_partition, murmur2_partition, fnv1a_partition)


class ReplyKeys:
    """
    Keys that the default partitioners of Kafka's clients map to one partition. Thread-safe.

    A responder that copies the key of the request to its reply thus sends it to that partition.
    With few partitions a key suits all PARTITIONERS at once, with many only the first ones.

    Responders handle records with the same key one after the other, therefore no two requests in
    flight share a key.

    Args:
        partition: the partition that the keys lead to.
        counts: the numbers of partitions for which they do so: that of the topic, and an earlier
            one that producers may still know.
        prefix: begins each key; unique to this process.
    """

    def __init__(self, partition: int, counts: Sequence[int], prefix: str) -> None:
        self._partition = partition
        self._counts = counts
        tries = math.lcm(*counts)
        suited = [p for number, p in enumerate(PARTITIONERS, 1) if tries**number <= MAX_TRIES]
        # The fastest first, since most texts fail at the first one.
        self._partitioners = sorted(suited or PARTITIONERS[:1], key=FASTEST_FIRST.index)
        self._prefix = prefix.encode()
        self._numbers = itertools.count()
        self._free: deque[bytes] = deque()

    def take(self) -> bytes:
        """Return a key that no request in flight has."""
        try:
            return self._free.popleft()
        except IndexError:
            return self._next()

    def give_back(self, key: bytes) -> None:
        """
        Let *key* be taken again, once the reply has come.

        The key of a request without a reply is not given back: its handler may still run, and the
        next request with that key would wait for it. Nor is that of an unusable reply: without
        headers it is known by its key, and may be delivered again.
        """
        self._free.append(key)

    def _next(self) -> bytes:
        prefix, partition = self._prefix, self._partition
        (first, count), *others = itertools.product(self._partitioners, self._counts)
        # Written out, since it is tried thousands of times.
        for number in self._numbers:
            key = b"%s-%d" % (prefix, number)
            if first(key, count) == partition and all(
                partition_of(key, n) == partition for partition_of, n in others
            ):
                return key
        raise AssertionError("the numbers do not end")
