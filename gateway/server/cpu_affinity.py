"""
Which processor core a worker keeps to.

The threads of a worker take turns with the interpreter. On one core a turn is a switch from one to
the other; on two it wakes another core each time, whose caches know nothing of the request. But who
keeps to a core cannot leave it when others crowd in. So only as many workers as there are cores
keep to one each: whatever else runs, also another such server, finds all cores alike.
"""

import os
from collections import Counter
from collections.abc import Iterable


def free_core(taken: Iterable[int | None], workers: int) -> int | None:
    """
    Return the core that a new worker should keep to, or None when it should keep to none.

    Args:
        taken: the cores of the workers that live; None for those that keep to none.
        workers: how many there are to be.
    """
    usable = _usable_cores()
    if workers < 2 or workers != len(usable):
        return None
    # A worker that follows another one overlaps with it for a while.
    crowd = Counter(taken)
    return min(usable, key=lambda core: (crowd[core], core))


def pin_to(core: int) -> None:
    """
    Keep the threads of this process, and those that they will start, to *core*.

    Raises:
        OSError: when the system does not allow that.
    """
    # Of a process that was forked, Python 3.11 remembers the main thread's number wrongly.
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {core})


def _usable_cores() -> set[int]:
    # Linux only; elsewhere the system does not say.
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
