"""
CPU affinity: pins each worker to a core if there is one per worker.

The threads of a worker share the GIL. On one core it changes hands with a thread switch; on two it
wakes another core, whose caches do not hold the request. But a pinned worker cannot leave a core
that other programs load. So workers are pinned only if there is one per core: other programs,
including another such server, then load all cores equally.
"""

import os
from collections import Counter
from collections.abc import Iterable
from typing import Any


def free_core(taken: Iterable[int | None], workers: int) -> int | None:
    """
    Return the core for a new worker, or None to leave it unpinned.

    Args:
        taken: the cores of the running workers; None for those that are not pinned.
        workers: the configured number of workers.
    """
    usable = _usable_cores()
    if workers < 2 or workers != len(usable):
        return None
    # A worker and its successor overlap for a while.
    counts = Counter(taken)
    return min(usable, key=lambda core: (counts[core], core))


def core_for_new_worker(server: Any) -> int | None:
    """Return the core for the next worker of the arbiter *server*."""
    return free_core((worker.core for worker in server.WORKERS.values()), server.num_workers)


def pin_worker(worker: Any) -> None:
    """Pin *worker* to its core, if it has one, and log the result."""
    if worker.core is None:
        return
    try:
        pin_to(worker.core)
    except OSError as error:  # a sandbox may forbid it
        worker.log.warning("worker %d is not pinned to a core: %s", worker.pid, error)
    else:
        worker.log.info("worker %d is pinned to core %d", worker.pid, worker.core)


def pin_to(core: int) -> None:
    """Pin all threads of this process, including later ones; raise OSError if refused."""
    # In a forked process Python 3.11 has the wrong number of the main thread.
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {core})


def _usable_cores() -> set[int]:
    # Only Linux has it.
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
