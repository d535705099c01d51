"""
CPU affinity: keeps each worker on one core, and moves it when other processes are in its way.

The threads of a worker share the GIL. On one core it changes hands with a thread switch; on two it
wakes another core, whose caches do not hold the request. But the system cannot move a pinned
worker away from other processes that are pinned to its core, such as the worker of another gateway.
"""

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.server.core_loads import CoreLoads
from rendezvous.process.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)

#: Mean interval of the search for a better core, in seconds.
LOOK_INTERVAL_S = 1.0
#: Busy share from which a core is full, and up to which it is idle.
FULL, IDLE = 0.95, 0.1
#: Minimum difference in use by other processes to move, as a share of a core.
MIN_GAIN = 0.25
#: Probability to move to a better core, so that two workers do not follow each other.
MOVE_PROBABILITY = 0.5
#: Maximum number of passes over the threads of a process until all are pinned.
MAX_PASSES = 5
#: Minimum interval of log lines about moves, in seconds.
LOG_INTERVAL_S = 60.0
#: The logical cores of a physical one, such as "0,4" or "0-1".
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def free_core(taken: Iterable[int | None]) -> int | None:
    """
    Return the core for a new worker, or None if there is only one.

    Args:
        taken: the cores on which the other workers began; None for those that were not pinned.
    """
    usable = usable_cores(os.getpid())
    if len(usable) < 2:
        return None
    # A worker and its successor overlap for a while.
    counts = Counter(core for core in taken if core is not None)

    def cost(core: int) -> tuple[int, int, float]:
        siblings = sum(counts[one] for one in siblings_of(core))
        # At random, since other gateways choose too.
        return counts[core], siblings, random.random()

    return min(usable, key=cost)


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
    for _ in range(MAX_PASSES):
        # In a forked process Python 3.11 has the wrong number of the main thread.
        threads = map(int, os.listdir("/proc/self/task"))
        elsewhere = [one for one in threads if usable_cores(one) - {core}]
        if not elsewhere:
            return
        for thread in elsewhere:
            with suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(thread, {core})
        # A thread that was not pinned yet may have started another one meanwhile.


def usable_cores(pid: int) -> set[int]:
    """Return the cores on which process or thread *pid* may run; empty if that is not known."""
    try:
        return os.sched_getaffinity(pid)
    except (AttributeError, OSError):  # only Linux has it
        return set()


def siblings_of(core: int, path: str = SIBLINGS) -> set[int]:
    """Return the logical cores that share a physical one with *core*, which is one of them."""
    found = {core}
    with suppress(OSError, ValueError):
        for part in Path(path.format(core)).read_text().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


def better_core(busy: Mapping[int, float], core: int, first: int, own: float) -> int | None:
    """
    Return the core to move to, or None to stay.

    Args:
        busy: the busy share of each core that may be used.
        core: where this process runs.
        first: where it began; the workers of a gateway begin on different cores.
        own: its own share of its core.
    """
    others = busy[core] - own
    if others < MIN_GAIN:
        return None
    is_full = busy[core] >= FULL
    if is_full and busy.get(first, 1.0) <= 1 - MIN_GAIN:
        return first
    best = min(busy, key=busy.__getitem__)
    # What is not pinned leaves a core by itself while another one is idle.
    is_better = busy[best] <= (others - MIN_GAIN if is_full else IDLE)
    return best if is_better else None


class CoreKeeper:
    """
    Moves this process, in a thread, when other processes are in its way.

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
        own, busy = self._own_share(), self._loads.busy()
        usable = usable_cores(os.getppid())
        if len(usable) < 2:
            return
        if self.core not in usable or usable_cores(0) != {self.core}:
            # The cores of the container have changed.
            found = self._first if self._first in usable else random.choice([*usable])
            self._move(found, "worker %d is pinned to core %d again")
        # LXCFS counts as many cores as a container may use, by other numbers.
        elif usable <= busy.keys():
            busy = {core: busy[core] for core in usable}
            better = better_core(busy, self.core, self._first, own)
            if better is not None and self._chance() < MOVE_PROBABILITY:
                self._move(better, "worker %d moved to core %d, which other processes use less")

    def _move(self, core: int, message: str) -> None:
        self._pin(core)
        self.core = core
        self._log.info(message, os.getpid(), core)

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
                self._log.warning("worker %d stays where it is: %s", os.getpid(), error)
