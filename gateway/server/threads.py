"""The threads that serve requests: no more than are needed, and nothing told of what came of it."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Pool(Generic[Job]):
    """
    Up to *size* threads, each started when the others are busy, that do one job after the other.

    Unlike an executor it makes no future of a job, which costs more than the hand-over itself. And
    the thread that was busy last is the next one to be: its memory is still in the caches. In
    turn, as from a queue, all those that one crowd has needed would be gone through ever after.

    Args:
        size: how many jobs are done at once; the others wait for their turn.
        do: what is done with a job; must not raise.
    """

    def __init__(self, size: int, do: Callable[[Job], None]) -> None:
        self._size = size
        self._do = do
        self._lock = threading.Lock()
        self._left: deque[Job] = deque()  # for whom there was no thread
        self._idle: list[_Place[Job]] = []
        self._ending = False
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job) -> None:
        """Have *job* done; to be called by one thread only."""
        with self._lock:
            place = self._idle.pop() if self._idle else None
            if place is None and len(self._threads) >= self._size:
                self._left.append(job)
                return
        if place is None:
            self._start_one(job)
        else:
            place.hand_over(job)

    def has_room(self) -> bool:
        """Say whether another job would be done at once."""
        return bool(self._idle) or len(self._threads) < self._size

    def shutdown(self, wait: bool = True) -> None:
        """End the threads when all that was submitted is done; return then, or at once."""
        with self._lock:
            self._ending = True
            idle, self._idle = self._idle, []
        for place in idle:
            place.hand_over(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _start_one(self, job: Job) -> None:
        # Daemons: a process that has waited long enough for them ends without them.
        thread = threading.Thread(
            target=self._work, args=(job,), name=f"server-{len(self._threads)}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _work(self, first: Job) -> None:
        place: _Place[Job] = _Place()
        job: Job | None = first
        while job is not None:
            self._do(job)
            job = self._next(place)

    def _next(self, place: "_Place[Job]") -> Job | None:
        with self._lock:
            if self._left:
                return self._left.popleft()
            if self._ending:
                return None
            self._idle.append(place)
        return place.wait()


class _Place(Generic[Job]):
    """Where an idle thread waits for a job."""

    __slots__ = ("_called", "_job")

    def __init__(self) -> None:
        self._job: Job | None = None
        self._called = threading.Lock()
        self._called.acquire()

    def hand_over(self, job: Job | None) -> None:
        """Wake the one who waits, to do *job*; without any, to end."""
        self._job = job
        self._called.release()

    def wait(self) -> Job | None:
        """Return the job when there is one, or None at the end."""
        self._called.acquire()
        job, self._job = self._job, None
        return job
