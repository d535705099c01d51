"""Runs tasks side by side, but those with the same key one after the other."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Task = Callable[[], None]


class KeyedExecutor:
    """
    A thread pool that keeps the order of tasks with the same key.

    Args:
        threads: how many tasks run at once.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="handler")
        self._lanes: dict[object, deque[Task]] = {}
        self._lock = threading.Lock()

    def submit(self, key: object, task: Task) -> None:
        """Run *task*, which must not raise, after those submitted before under *key*."""
        with self._lock:
            lane = self._lanes.get(key)
            if lane is not None:
                lane.append(task)
                return
            self._lanes[key] = deque([task])
        self._pool.submit(self._run, key)

    def close(self) -> None:
        """Take no more tasks, drop those that have not begun, and wait for the others."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, key: object) -> None:
        lane = self._lanes[key]
        try:
            lane[0]()
        finally:
            with self._lock:
                lane.popleft()
                empty = not lane
                if empty:
                    del self._lanes[key]
        if empty:
            return
        # Back to the end of the pool's queue: a busy key must not keep the others from a thread.
        try:
            self._pool.submit(self._run, key)
        except RuntimeError:
            return  # closed meanwhile; what is left in the lane has not begun
