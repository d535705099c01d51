"""KeyedExecutor: runs tasks concurrently, and tasks with the same key in order."""

import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from rendezvous.process.throttled_log import ThrottledLog

logger = logging.getLogger(__name__)

Task = Callable[[], object]
#: None: the task has no key, hence no order.
Key = Hashable | None


@dataclass(frozen=True, slots=True)
class Later:
    """Returned by a task that must be followed by *task* after *pause_s*, with the same key."""

    pause_s: float
    task: Task


class KeyedExecutor:
    """
    A thread pool that keeps the order of tasks with the same key; call start() before use.

    A task that returns Later waits without a thread; those behind it with the same key wait too.

    Args:
        threads: maximum number of tasks that run at once.
    """

    def __init__(self, threads: int) -> None:
        self._max_threads = threads
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ready: deque[tuple[Key, Task]] = deque()
        # By the key of a task that is ready or running: the tasks behind it, None for none.
        self._behind: dict[Key, deque[Task] | None] = {}
        # By due time, and by a number because tasks cannot be compared.
        self._later: list[tuple[float, int, Key, Task]] = []
        self._numbers = itertools.count()
        self._later_changed = threading.Condition(self._lock)
        self._timer = threading.Thread(target=self._run_timer, name="later", daemon=True)
        self._closed = False
        self._log = ThrottledLog(logger)

    def start(self) -> None:
        """Start the thread that makes postponed tasks ready."""
        # Not when the first task is postponed: if that failed, the task would be lost.
        self._timer.start()

    def submit_all(self, tasks: Iterable[tuple[Key, Task]]) -> None:
        """
        Run each of *tasks* after the earlier ones with the same key; drop them after close().

        Raises:
            RuntimeError: when there is no thread to run them, and none can be started.
        """
        with self._changed:
            if self._closed:
                return
            for key, task in tasks:
                self._add(key, task)
            self._wake_threads()

    def close(self, timeout_s: float | None = None) -> bool:
        """
        Drop the tasks that have not begun, and wait for the others; can be called again.

        Returns whether all have ended; False after *timeout_s*.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._later_changed.notify_all()
            return self._changed.wait_for(lambda: not self._threads, timeout_s)

    def _add(self, key: Key, task: Task) -> None:
        if key is None:
            self._ready.append((None, task))
        elif key not in self._behind:
            self._behind[key] = None
            self._ready.append((key, task))
        elif (behind := self._behind[key]) is None:
            self._behind[key] = deque([task])
        else:
            behind.append(task)

    def _wake_threads(self) -> None:
        self._changed.notify(min(len(self._ready), self._idle))
        missing = min(len(self._ready) - self._idle, self._max_threads - len(self._threads))
        try:
            for _ in range(missing):
                self._start_thread()
        except RuntimeError as error:  # the system has no thread left
            if not self._threads:
                raise
            self._log.warning(
                "%s: %d of %d handler threads run; raise the limit of threads or lower "
                "RESPONDER_THREADS",
                error,
                len(self._threads),
                self._max_threads,
            )

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=self._run, name=f"handler_{len(self._threads)}", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def _run(self) -> None:
        key: Key = None
        while True:
            # Once per task: what the last one frees, and the next one.
            with self._changed:
                self._free(key)
                while not self._ready and not self._closed:
                    self._idle += 1
                    self._changed.wait()
                    self._idle -= 1
                if self._closed:
                    self._threads.remove(threading.current_thread())
                    self._changed.notify_all()
                    return
                key, task = self._ready.popleft()
            try:
                outcome = task()
            except BaseException:
                # Nothing would replace this thread, nor run what waits behind the task.
                logger.exception("a task failed")
                continue
            if isinstance(outcome, Later):
                self._postpone(key, outcome)
                key = None  # its tasks go on waiting

    def _free(self, key: Key) -> None:
        """Let the next task with *key* follow, behind those of other keys."""
        if key is None:
            return
        behind = self._behind[key]
        if behind is None:
            del self._behind[key]
            return
        self._ready.append((key, behind.popleft()))
        if not behind:
            self._behind[key] = None

    def _postpone(self, key: Key, later: Later) -> None:
        due_s = time.monotonic() + later.pause_s
        with self._changed:
            heapq.heappush(self._later, (due_s, next(self._numbers), key, later.task))
            self._later_changed.notify()

    def _run_timer(self) -> None:
        """Make postponed tasks ready when they are due."""
        with self._later_changed:
            while not self._closed:
                now_s = time.monotonic()
                while self._later and self._later[0][0] <= now_s:
                    _, _, key, task = heapq.heappop(self._later)
                    self._ready.append((key, task))
                self._wake_threads()
                next_s = self._later[0][0] if self._later else math.inf
                self._later_changed.wait(min(next_s - now_s, threading.TIMEOUT_MAX))
