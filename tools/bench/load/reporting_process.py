"""Load programs that report on standard output: start one and read its lines."""

import json
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tools.bench.cases import Case
from tools.bench.load.wrk import SPARE_S, LoadFailed
from tools.bench.measure.result import Load
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import start_process

T = TypeVar("T")

FLOORS = {
    "floor": "tools.bench.load.floor",
    "floor-librdkafka": "tools.bench.load.floor_librdkafka",
    "floor-shipped": "tools.bench.load.floor",
    "floor-shipped-librdkafka": "tools.bench.load.floor_librdkafka",
}


class ReportingProcess:
    """
    A process that reports progress and results on lines that begin with a keyword.

    Args:
        lines: its output.
    """

    def __init__(self, child: Child, lines: "queue.Queue[str]") -> None:
        self.pid = child.pid
        self._lines = lines
        self._skipped: list[str] = []

    def wait_for(self, keyword: str, limit_s: float) -> str:
        """
        Return the rest of the line that begins with *keyword*.

        Raises:
            LoadFailed: when no such line arrives within *limit_s*, with the other lines.
        """
        end_s = time.monotonic() + limit_s
        try:
            while True:
                line = self._lines.get(timeout=max(0.0, end_s - time.monotonic()))
                if line.startswith(keyword):
                    return line.removeprefix(keyword).strip()
                self._skipped.append(line)
        except queue.Empty as error:
            skipped = "\n".join(self._skipped[-20:])
            raise LoadFailed(f"no {keyword} within {limit_s:g} s; output:\n{skipped}") from error


@contextmanager
def reporting_process(command: str) -> Iterator[ReportingProcess]:
    """Run *command* until the block ends."""
    lines: queue.Queue[str] = queue.Queue()
    child = start_process(command, {}, lines.put)
    try:
        yield ReportingProcess(child, lines)
    finally:
        child.stop()


def run_floor(
    name: str,
    topics: str,
    case: Case,
    duration_s: float,
    start_meter: Callable[[int], Callable[[], T]],
) -> tuple[Load, T]:
    """
    Run the floor called *name* for *duration_s*; return its load and what the meter read.

    Args:
        topics: broker, topic and reply topic, separated by spaces, and further options.
        start_meter: takes the process id, starts a meter and returns the function that reads it.
    """
    command = (
        f"python -m {FLOORS[name]} {topics} --in-flight {case.connections} "
        f"--bytes {case.body_bytes} --delay-s {case.delay_s} --seconds {duration_s}"
    )
    with reporting_process(command) as floor:
        floor.wait_for("BEGIN", SPARE_S)
        read_meter = start_meter(floor.pid)
        floor.wait_for("END", duration_s + SPARE_S)
        usage = read_meter()
        return Load.of(json.loads(floor.wait_for("RESULT", SPARE_S))), usage
