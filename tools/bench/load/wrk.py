"""The load generators: wrk for what speaks HTTP, a process of its own for each floor."""

import json
import os
import queue
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tools.bench.cases import Case
from tools.bench.load import bodies
from tools.bench.load.latencies import PERCENTILES
from tools.bench.measure.result import Load
from tools.devstack.process.child import Child
from tools.devstack.process.procfile import start_process

T = TypeVar("T")

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
#: A request may take so long before it counts as failed.
WRK_TIMEOUT_S = 15
#: On top of its time, until a load generator must have ended.
SPARE_S = 45.0

FLOORS = {
    "floor": "tools.bench.load.floor",
    "floor-librdkafka": "tools.bench.load.floor_librdkafka",
}


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
def wrk(
    url: str, case: Case, duration_s: float, pace_per_s: float = 0.0, api_key: str = ""
) -> Iterator[Wrk]:
    """
    Load *url* with wrk for *duration_s*, or until the end of the block.

    Args:
        pace_per_s: so many requests a second, as far as the connections suffice; by default each
            connection asks again as soon as it is answered.
        api_key: sent with each request, unless empty.
    """
    # wrk knows whole seconds only, and 0 is for ever.
    command = ["wrk", "-t1", f"-c{case.connections}", f"-d{max(round(duration_s), 1)}s"]
    env = {
        "API_KEY": api_key,
        "BODY_HEAD": bodies.head(case.delay_s).decode(),
        "BODY_BYTES": str(case.body_bytes),
        "CONNECTIONS": str(case.connections),
        "SPREAD_MS": f"{case.delay_s * 1e3:.0f}",
        "PACE_PER_S": f"{pace_per_s:g}",
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


class Talker:
    """
    A process that says on single lines how far it is and what it saw.

    Args:
        child: the process.
        lines: what it says.
    """

    def __init__(self, child: Child, lines: "queue.Queue[str]") -> None:
        self.pid = child.pid
        self._lines = lines
        self._said: list[str] = []

    def wait_for(self, word: str, limit_s: float) -> str:
        """
        Return the rest of the line that begins with *word*.

        Raises:
            LoadFailed: when it does not come in *limit_s*, with what was said instead.
        """
        end_s = time.monotonic() + limit_s
        try:
            while True:
                line = self._lines.get(timeout=max(0.0, end_s - time.monotonic()))
                if line.startswith(word):
                    return line.removeprefix(word).strip()
                self._said.append(line)
        except queue.Empty as error:
            said = "\n".join(self._said[-20:])
            raise LoadFailed(f"no {word} in {limit_s:g} s, but this:\n{said}") from error


@contextmanager
def talking(command: str) -> Iterator[Talker]:
    """Start *command*, and stop it at the end of the block."""
    lines: queue.Queue[str] = queue.Queue()
    child = start_process(command, {}, lines.put)
    try:
        yield Talker(child, lines)
    finally:
        child.stop()


def run_floor(
    name: str, place: str, case: Case, duration_s: float, costs: Callable[[int], Callable[[], T]]
) -> tuple[Load, T]:
    """
    Run the floor called *name* for *duration_s*; return what it saw, and what that cost.

    Args:
        place: broker, topic and reply topic, in one line.
        costs: begins to count, given the id of the process, and returns what ends it.
    """
    command = (
        f"python -m {FLOORS[name]} {place} --in-flight {case.connections} "
        f"--bytes {case.body_bytes} --delay-s {case.delay_s} --seconds {duration_s}"
    )
    with talking(command) as floor:
        floor.wait_for("BEGIN", SPARE_S)
        end = costs(floor.pid)
        floor.wait_for("END", duration_s + SPARE_S)
        spent = end()
        return Load.of(json.loads(floor.wait_for("RESULT", SPARE_S))), spent
