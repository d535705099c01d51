"""Record keys that lead the reply to one partition, in which a gateway process waits for it."""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence

from rendezvous.kafka_client.partitioning import default_partition


class ReplyKeys:
    """
    Keys that Kafka's default partitioner maps to one partition. Safe to use from several threads.

    A responder that copies the key of the request to its reply thus sends it to that partition.
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
        self._prefix = prefix.encode()
        self._numbers = itertools.count()
        self._free: deque[bytes] = deque()

    def take(self) -> bytes:
        """Return a key that no request in flight has."""
        try:
            return self._free.popleft()
        except IndexError:
            return next(filter(self._leads_there, self._new_keys()))

    def give_back(self, key: bytes) -> None:
        """
        Let *key* be taken again, once the reply has come.

        The key of a request without a reply is not given back: its handler may still run, and the
        next request with that key would wait for it.
        """
        self._free.append(key)

    def _new_keys(self) -> Iterator[bytes]:
        for number in self._numbers:
            yield b"%s-%d" % (self._prefix, number)

    def _leads_there(self, key: bytes) -> bool:
        return all(default_partition(key, count) == self._partition for count in self._counts)
