"""
CPU affinity: keeps each worker on one core, the one that others load least.

The threads of a worker share the GIL. On one core it changes hands with a thread switch; on two it
wakes another core, whose caches do not hold the request. But a pinned worker cannot leave a core
that is loaded by others, such as the workers of another gateway. So it is moved, if need be.
"""

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from gateway.server.core_loads import CoreLoads
from rendezvous.process.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)

#: Mean interval of the search for a better core, in seconds.
LOOK_INTERVAL_S = 1.0
#: Busy share from which a core is full. Below it the system has moved away what is not pinned.
FULL = 0.95
#: How much less a core must be used by others to be better, as a share of a core.
MIN_GAIN = 0.25
#: Probability to move to a better core, so that two workers do not follow each other.
MOVE_PROBABILITY = 0.5
#: Minimum interval of log lines about moves, in seconds.
LOG_INTERVAL_S = 60.0


def free_core(taken: Iterable[int | None]) -> int | None:
    """
    Return the core for a new worker, or None if there is only one.

    Args:
        taken: the cores on which the other workers began; None for those that were not pinned.
    """
    usable = usable_cores(os.getpid())
    if len(usable) < 2:
        return None
    # A worker and its successor overlap for a while. At random, since other gateways choose too.
    counts = Counter(taken)
    return min(usable, key=lambda core: (counts[core], random.random()))


def core_for_new_worker(server: Any) -> int | None:
    """Return the core for the next worker of the arbiter *server*."""
    return free_core(worker.core for worker in server.WORKERS.values())


def keep_on_core(worker: Any) -> None:
    """Pin *worker* to its core, if it has one, log the result, and move it from now on."""
    if worker.core is None:
        return
    try:
        pin_to(worker.core)
    except OSError as error:  # a sandbox may forbid it
        worker.log.warning("worker %d is not pinned to a core: %s", worker.pid, error)
    else:
        worker.log.info("worker %d is pinned to core %d", worker.pid, worker.core)
        CoreKeeper(worker.core).start()


def pin_to(core: int) -> None:
    """Pin all threads of this process, including later ones; raise OSError if refused."""
    # In a forked process Python 3.11 has the wrong number of the main thread.
    for thread in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(thread), {core})


def usable_cores(pid: int) -> set[int]:
    """Return the cores on which *pid* may run; empty if the system does not tell."""
    try:
        return os.sched_getaffinity(pid)
    except (AttributeError, OSError):  # only Linux has it
        return set()


def better_core(busy: Mapping[int, float], core: int, first: int, own: float) -> int | None:
    """
    Return the core to move to, or None to stay.

    Args:
        busy: the busy share of each core that may be used.
        core: where this process runs.
        first: where it began; the workers of a gateway begin on different cores.
        own: its own share of its core.
    """
    if core not in busy:
        return min(busy, key=busy.__getitem__, default=None)
    if busy[core] < FULL:
        return None
    if busy.get(first, 1.0) <= 1 - MIN_GAIN:  # then it is not this one
        return first
    others = {one: share - own if one == core else share for one, share in busy.items()}
    best = min(others, key=others.__getitem__)
    return best if others[core] - others[best] >= MIN_GAIN else None


class CoreKeeper:
    """
    Moves this process, in a thread, when others load its core more than another one.

    It may use the cores of its parent, the arbiter, which is not pinned: those of its container can
    change while it runs.

    Args:
        core: where all threads of this process run, at first.
        loads: of all cores.
        cpu_s: returns the CPU time of this process, in seconds.
        pin: pins all threads to a core, or raises OSError.
        chance: returns a random number below 1.
    """

    def __init__(
        self,
        core: int,
        loads: CoreLoads | None = None,
        cpu_s: Callable[[], float] = time.process_time,
        pin: Callable[[int], None] = pin_to,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.core = self._first = core
        self._loads = loads or CoreLoads()
        self._cpu_s = cpu_s
        self._pin = pin
        self._chance = chance
        self._used_s, self._looked_s = cpu_s(), time.monotonic()
        self._log = ThrottledLog(logger, LOG_INTERVAL_S)

    def start(self) -> None:
        """Start to look for better cores."""
        threading.Thread(target=self._run, name="core-keeper", daemon=True).start()

    def look(self) -> None:
        """Move if there is a better core; raises OSError if that is refused."""
        own = self._own_share()
        usable = usable_cores(os.getppid())
        busy = {core: share for core, share in self._loads.busy().items() if core in usable}
        # A container whose cores change loses its affinity.
        is_pinned = usable_cores(0) == {self.core}
        found = better_core(busy, self.core if is_pinned else -1, self._first, own)
        if found is None or (is_pinned and self._chance() >= MOVE_PROBABILITY):
            return
        self._pin(found)
        self._log.info(
            "worker %d moved from core %d to core %d, which others use less",
            os.getpid(),
            self.core,
            found,
        )
        self.core = found

    def _own_share(self) -> float:
        """Return the share of a core that this process used since the last call."""
        used_s, now_s = self._cpu_s(), time.monotonic()
        own = (used_s - self._used_s) / max(now_s - self._looked_s, 1e-9)
        self._used_s, self._looked_s = used_s, now_s
        return own

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_INTERVAL_S * (0.5 + self._chance()))
            try:
                self.look()
            except OSError as error:
                logger.warning("worker %d is not moved between cores: %s", os.getpid(), error)
                return
