"""The threads that serve requests: no more than are needed, and nothing told of what came of it."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Pool(Generic[Job]):
    """
    Up to *size* threads, each started when the others are busy, that do one job after the other.

    Unlike an executor it makes no future of a job, which costs more than the hand-over itself.

    Args:
        size: how many jobs are done at once; the others wait for their turn.
        do: what is done with a job; must not raise.
    """

    def __init__(self, size: int, do: Callable[[Job], None]) -> None:
        self._size = size
        self._do = do
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job) -> None:
        """Have *job* done; to be called by one thread only."""
        with self._lock:
            self._unfinished += 1
        if self._unfinished > len(self._threads) < self._size:
            self._start_one()
        self._jobs.put(job)

    def shutdown(self, wait: bool = True) -> None:
        """End the threads when all that was submitted is done; return then, or at once."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _start_one(self) -> None:
        # Daemons: a process that has waited long enough for them ends without them.
        thread = threading.Thread(
            target=self._work, name=f"server-{len(self._threads)}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)
            with self._lock:
                self._unfinished -= 1
