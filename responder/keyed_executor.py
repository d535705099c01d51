"""KeyedExecutor: runs tasks concurrently, and tasks with the same key in order."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Task = Callable[[], None]


class KeyedExecutor:
    """
    A thread pool that keeps the order of tasks with the same key.

    Args:
        threads: maximum number of tasks that run at once.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._queues: dict[object, deque[Task]] = {}  # the first task of each is running or next
        self._lock = threading.Lock()

    def submit(self, key: object, task: Task) -> None:
        """Run *task*, which must not raise, after the earlier tasks with the same *key*."""
        with self._lock:
            queue = self._queues.get(key)
            if queue is not None:
                queue.append(task)
                return
            self._queues[key] = deque([task])
        self._pool.submit(self._run, key)

    def close(self) -> None:
        """Drop the tasks that have not begun, and wait for the others."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, key: object) -> None:
        queue = self._queues[key]
        try:
            queue[0]()
        finally:
            with self._lock:
                queue.popleft()
                empty = not queue
                if empty:
                    del self._queues[key]
        if empty:
            return
        # At the end of the pool's queue: a busy key must not keep the others from a thread.
        try:
            self._pool.submit(self._run, key)
        except RuntimeError:
            return  # the pool has been closed
