"""CPU time and memory of the gateway's processes during an attack."""

import threading
from collections.abc import Sequence
from typing import Self

from tools.bench.measure.usage import cpu_s_of
from tools.devstack.process.procfs import children_of, usage_of

SAMPLE_S = 0.25


class GatewayUsage:
    """
    Samples a gateway during a ``with`` block, workers that end or start included.

    Args:
        masters: process ids; none for a gateway that was not started here.
    """

    def __init__(self, masters: Sequence[int]) -> None:
        self._masters = masters
        self._first_cpu_s: dict[int, float] = {}
        self._last_cpu_s: dict[int, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak_rss_bytes = 0

    def __enter__(self) -> Self:
        self._sample()
        self._known = set(self._first_cpu_s)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._sample()

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all processes together."""
        return sum(self._last_cpu_s[pid] - first for pid, first in self._first_cpu_s.items())

    @property
    def replaced(self) -> int:
        """Number of processes that began during the block."""
        return len(self._first_cpu_s.keys() - self._known)

    def _run(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        rss = 0
        for pid in [child for master in self._masters for child in children_of(master)]:
            usage = usage_of(pid)
            if usage is None:
                continue
            rss += usage.rss_bytes
            self._last_cpu_s[pid] = cpu_s = cpu_s_of(pid)
            self._first_cpu_s.setdefault(pid, cpu_s)
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
