"""
How long records are gathered before they are sent together: not at all, unless many wait anyway.

A produce request costs several times what a record costs, here, at the broker, and once more for
whoever takes its records one by one. kafka-python's ``linger_ms`` is one number for all times: a
request that is alone would wait for nobody.
"""

from collections.abc import Callable
from typing import Any

#: Of the time that the fastest replies take, for each request that waits, so much, ...
SHARE_PER_WAITING = 0.01
#: ... and no more than that: so many of those who wait are gathered into one batch.
MAX_SHARE = 0.25
#: However long replies take: 200 produce requests a second cost little, and more is not gained.
MAX_LINGER_MS = 5.0
#: So few would gather nobody in that time. They are not held up at all.
FEW_WAITING = 8


def linger_ms(waiting: int, usual_reply_s: float) -> float:
    """
    Return for how long records are gathered, in milliseconds.

    Args:
        waiting: how many requests wait for their replies in this process.
        usual_reply_s: how long the fastest of these take, in seconds; 0 when unknown.
    """
    if waiting < FEW_WAITING:
        return 0.0
    share = min(waiting * SHARE_PER_WAITING, MAX_SHARE)
    return min(usual_reply_s * share * 1000, MAX_LINGER_MS)


def gather(producer: Any, now_ms: Callable[[], float]) -> None:
    """
    Let *producer*, a KafkaProducer, gather records for as long as *now_ms* says at the time.

    The place is private: pinned below 3.1, and tested on real brokers.
    """
    accumulator = producer._accumulator
    ready = accumulator.ready

    def ready_by_now(*args: Any, **kwargs: Any) -> Any:
        # The sender asks this before each request that it makes.
        accumulator.config["linger_ms"] = now_ms()
        return ready(*args, **kwargs)

    accumulator.ready = ready_by_now
