"""The load generators: wrk for what speaks HTTP, a process of its own for each floor."""

import json
import os
import queue
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import bodies
from bench.cases import Case
from bench.latencies import PERCENTILES
from bench.result import Load
from devstack.child import Child
from devstack.procfile import start_process

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
#: A request may take so long before it counts as failed.
WRK_TIMEOUT_S = 15
#: On top of its time, until a load generator must have ended.
SPARE_S = 45.0

FLOORS = {"floor": "bench.floor", "floor-librdkafka": "bench.floor_librdkafka"}


class LoadFailed(Exception):
    """Raised when a load generator did not tell a result."""


class Wrk:
    """A wrk that runs."""

    def __init__(self, process: "subprocess.Popen[str]", limit_s: float) -> None:
        self._process = process
        self._limit_s = limit_s
        #: What it has used, once there is a result.
        self.cpu_s = 0.0

    def result(self) -> Load:
        """
        Wait for its end and return what it saw.

        Raises:
            LoadFailed: when it says nothing of the kind.
        """
        used_s = _children_cpu_s()
        try:
            said, _ = self._process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired as error:
            raise LoadFailed(f"wrk has not ended in {self._limit_s:g} s") from error
        self.cpu_s = round(_children_cpu_s() - used_s, 3)
        for line in said.splitlines():
            if line.startswith("RESULT "):
                return Load.of(json.loads(line.removeprefix("RESULT ")))
        raise LoadFailed(f"wrk told no result: {said.strip()[-500:]}")


@contextmanager
def wrk(url: str, case: Case, duration_s: float) -> Iterator[Wrk]:
    """Load *url* with wrk for *duration_s*, or until the end of the block."""
    # wrk knows whole seconds only.
    command = ["wrk", "-t1", f"-c{case.connections}", f"-d{round(duration_s)}s"]
    env = {
        "BODY_HEAD": bodies.head(case.delay_s).decode(),
        "BODY_BYTES": str(case.body_bytes),
        "CONNECTIONS": str(case.connections),
        "SPREAD_MS": f"{case.delay_s * 1e3:.0f}",
        "PERCENTILES": ",".join(f"{percent:g}" for percent in PERCENTILES),
    }
    process = subprocess.Popen(
        [*command, "--timeout", f"{WRK_TIMEOUT_S}s", "-s", str(WRK_SCRIPT), url],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield Wrk(process, duration_s + SPARE_S)
        finally:
            process.kill()


def _children_cpu_s() -> float:
    # Of those that have ended: while it runs, /proc would tell; then nothing does any more.
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class FloorProcess:
    """A floor that runs; stopped at the end of the ``with`` block."""

    def __init__(self, name: str, broker: str, topics: tuple[str, str], case: Case) -> None:
        self._name = name
        self._command = (
            f"python -m {FLOORS[name]} {broker} {topics[0]} {topics[1]} "
            f"--in-flight {case.connections} --bytes {case.body_bytes} --delay-s {case.delay_s}"
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._said: list[str] = []

    @contextmanager
    def running(self, duration_s: float) -> Iterator[Child]:
        """Start it, to measure for *duration_s*."""
        command = f"{self._command} --seconds {duration_s}"
        child = start_process(command, {}, self._lines.put)
        try:
            yield child
        finally:
            child.stop()

    def wait_for(self, word: str, limit_s: float) -> str:
        """
        Return the rest of the line that begins with *word*.

        Raises:
            LoadFailed: when it does not come in *limit_s*, with what was said instead.
        """
        try:
            while not (line := self._lines.get(timeout=limit_s)).startswith(word):
                self._said.append(line)
        except queue.Empty as error:
            said = "\n".join(self._said[-20:])
            raise LoadFailed(
                f"{self._name}: no {word} in {limit_s:g} s; it says:\n{said}"
            ) from error
        return line.removeprefix(word).strip()


def run_floor(
    floor: FloorProcess, duration_s: float, costs: Callable[[int], Callable[[], Any]]
) -> tuple[Load, Any]:
    """
    Run *floor* for *duration_s*; return what it saw, and what that cost.

    Args:
        costs: begins to count, given the id of the process, and returns what ends it.
    """
    with floor.running(duration_s) as child:
        floor.wait_for("BEGIN", SPARE_S)
        end = costs(child.pid)
        floor.wait_for("END", duration_s + SPARE_S)
        spent = end()
        return Load.of(json.loads(floor.wait_for("RESULT", SPARE_S))), spent
