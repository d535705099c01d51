"""How busy the processor cores are, as Linux counts it in /proc/stat (see proc(5))."""

from collections.abc import Iterator
from pathlib import Path

STAT = Path("/proc/stat")


class CoreLoads:
    """
    The busy shares of cores between two calls. For one thread.

    Args:
        stat: the file that counts.
    """

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._before: dict[int, tuple[int, int]] = {}

    def busy(self) -> dict[int, float]:
        """
        Return the busy share of each core, 0 to 1, since the last call.

        Empty at the first call, and where the system does not count.
        """
        before, self._before = self._before, dict(self._read())
        return {
            core: (busy - before[core][0]) / (total - before[core][1])
            for core, (busy, total) in self._before.items()
            if core in before and total > before[core][1]
        }

    def _read(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield the busy time and all time of each core since the system's start, in ticks."""
        try:
            lines = self._stat.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            if line.startswith("cpu") and line[3:4].isdigit():
                name, *fields = line.split()
                # user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user
                ticks = [int(field) for field in fields[:8]]
                total = sum(ticks)
                # Other virtual machines steal; moving does not help.
                yield int(name[3:]), (total - sum(ticks[3:5]) - sum(ticks[7:]), total)
