"""
The gateway with timers around its parts, in CPU time of the calling thread.

A timer costs about 2 us, so shares matter more than absolute times. Every worker appends its totals
to the file named by TIMERS every 0.25 s.
"""

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wsgi
from tools.bench.programs.timed_parts import PARTS

SAVE_PAUSE_S = 0.25


class Timers:
    """Calls and CPU seconds of each part."""

    def __init__(self) -> None:
        self.counts: defaultdict[str, int] = defaultdict(int)
        self.cpu_s: defaultdict[str, float] = defaultdict(float)

    def wrap(self, name: str, cls: Any, method: str) -> None:
        """Record calls and CPU time of *method* of *cls* under *name*."""
        original: Callable[..., Any] = getattr(cls, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            started_s = time.thread_time()
            try:
                return original(*args, **kwargs)
            finally:
                self.counts[name] += 1
                self.cpu_s[name] += time.thread_time() - started_s

        setattr(cls, method, timed)

    def start(self) -> None:
        """Start to save, in the worker process."""
        threading.Thread(target=self._save, daemon=True).start()

    def close(self) -> None:
        """Do nothing; the totals of the last 0.25 s do not matter."""

    def _save(self) -> None:
        file = Path(f"{os.environ['TIMERS']}.{os.getpid()}")
        while True:
            time.sleep(SAVE_PAUSE_S)
            totals = {
                name: (self.counts[name], self.cpu_s[name]) for name in tuple(self.counts)
            } | {"process": (0, time.process_time())}
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([time.time(), totals]) + "\n")


timers = Timers()
for part in PARTS:
    timers.wrap(*part)
wsgi.gateway.lifecycle.add(timers)
app = wsgi.app
