"""A thread pool that starts as few threads as the load needs."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Job = TypeVar("Job")


class Pool(Generic[Job]):
    """
    Up to *size* threads; one is started when all others are busy.

    Unlike an executor it creates no future per job, which costs more than handing the job over. The
    thread that was busy last gets the next job: its memory is still in the processor's caches.

    Args:
        size: maximum number of threads; further jobs are queued.
        do: called with each job; what it raises is logged.
    """

    def __init__(self, size: int, do: Callable[[Job], None]) -> None:
        self._size = size
        self._do = do
        self._lock = threading.Lock()
        self._queue: deque[Job] = deque()
        self._idle: list[_IdleThread[Job]] = []
        self._closing = False
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job) -> None:
        """Run *job* in a thread; to be called by one thread only."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
            if idle is None and len(self._threads) >= self._size:
                self._queue.append(job)
                return
        if idle is None:
            self._start_thread(job)
        else:
            idle.wake(job)

    def has_room(self) -> bool:
        """Return whether another job would start at once."""
        return bool(self._idle) or len(self._threads) < self._size

    def shutdown(self, wait: bool = True) -> None:
        """End the threads after all submitted jobs; with *wait* return after that."""
        with self._lock:
            self._closing = True
            idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.wake(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _start_thread(self, job: Job) -> None:
        # Daemons: after the graceful timeout the process ends without them.
        thread = threading.Thread(
            target=self._work, args=(job,), name=f"server-{len(self._threads)}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _work(self, first: Job) -> None:
        idle: _IdleThread[Job] = _IdleThread()
        job: Job | None = first
        while job is not None:
            try:
                self._do(job)
            except BaseException:  # a thread that ends is lost for good
                logger.exception("a job of %s failed", threading.current_thread().name)
            job = self._next(idle)

    def _next(self, idle: "_IdleThread[Job]") -> Job | None:
        with self._lock:
            if self._queue:
                return self._queue.popleft()
            if self._closing:
                return None
            self._idle.append(idle)
        return idle.wait()


class _IdleThread(Generic[Job]):
    """An idle thread, which waits for a job."""

    __slots__ = ("_job", "_woken")

    def __init__(self) -> None:
        self._job: Job | None = None
        self._woken = threading.Lock()
        self._woken.acquire()

    def wake(self, job: Job | None) -> None:
        """Let the thread do *job*, or end if it is None."""
        self._job = job
        self._woken.release()

    def wait(self) -> Job | None:
        """Return the job when there is one, None at shutdown."""
        self._woken.acquire()
        job, self._job = self._job, None
        return job
