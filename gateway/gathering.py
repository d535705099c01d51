"""
How long records are gathered before they are sent together: not at all, unless many wait anyway.

A produce request costs several times what a record costs, here and at the broker. kafka-python's
``linger_ms`` is one number for all times: a request that is alone would wait for nobody.
"""

from collections.abc import Callable
from typing import Any

#: For each request that waits in this process, so long, ...
LINGER_PER_WAITING_MS = 0.2
#: ... and no longer than that. A single request is not held up at all.
MAX_LINGER_MS = 6.0
FEW_WAITING = 4


def linger_ms(waiting: int) -> float:
    """Return for how long records are gathered while *waiting* requests wait for their replies."""
    if waiting < FEW_WAITING:
        return 0.0
    return min(waiting * LINGER_PER_WAITING_MS, MAX_LINGER_MS)


def gather(producer: Any, waiting: Callable[[], int]) -> None:
    """
    Let *producer*, a KafkaProducer, gather records while many requests are *waiting*.

    The place is private: pinned below 3.1, and tested on real brokers.
    """
    accumulator = producer._accumulator
    ready = accumulator.ready

    def ready_by_now(*args: Any, **kwargs: Any) -> Any:
        # The sender asks this before each request that it makes.
        accumulator.config["linger_ms"] = linger_ms(waiting())
        return ready(*args, **kwargs)

    accumulator.ready = ready_by_now
