"""KeyedExecutor: runs tasks concurrently, and tasks with the same key in order."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable

logger = logging.getLogger(__name__)

Task = Callable[[], object]
#: None: the task has no key, hence no order.
Key = Hashable | None


class KeyedExecutor:
    """
    A thread pool that keeps the order of tasks with the same key.

    Args:
        threads: maximum number of tasks that run at once.
    """

    def __init__(self, threads: int) -> None:
        self._max_threads = threads
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._changed = threading.Condition(threading.Lock())
        self._ready: deque[tuple[Key, Task]] = deque()
        # By the key of a task that is ready or running: the tasks behind it, None for none.
        self._behind: dict[Key, deque[Task] | None] = {}
        self._closed = False

    def submit_all(self, tasks: Iterable[tuple[Key, Task]]) -> None:
        """Run each of *tasks* after the earlier ones with the same key."""
        with self._changed:
            for key, task in tasks:
                self._add(key, task)
            self._wake_threads()

    def close(self) -> None:
        """Drop the tasks that have not begun, and wait for the others."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

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
        for _ in range(missing):
            thread = threading.Thread(
                target=self._run, name=f"handler_{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

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
                    return
                key, task = self._ready.popleft()
            try:
                task()
            except Exception:
                logger.exception("a task failed")

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
