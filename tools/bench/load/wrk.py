"""The load generator wrk."""

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.bench.cases import Case
from tools.bench.load import bodies
from tools.bench.load.latencies import PERCENTILES
from tools.bench.measure.result import Load

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
#: Timeout of a request, in seconds.
WRK_TIMEOUT_S = 15
#: Extra seconds, after the load, for a load generator to end.
SPARE_S = 45.0


class LoadFailed(Exception):
    """Raised when a load generator reports no result."""


class Wrk:
    """A running wrk process."""

    def __init__(self, process: "subprocess.Popen[str]", limit_s: float) -> None:
        self._process = process
        self._limit_s = limit_s
        #: CPU seconds used, set by result().
        self.cpu_s = 0.0

    def result(self) -> Load:
        """
        Wait for wrk to end and return its result.

        Raises:
            LoadFailed: when wrk prints no result.
        """
        before_s = _children_cpu_s()
        try:
            output, _ = self._process.communicate(timeout=self._limit_s)
        except subprocess.TimeoutExpired as error:
            raise LoadFailed(f"wrk did not end within {self._limit_s:g} s") from error
        self.cpu_s = round(_children_cpu_s() - before_s, 3)
        for line in output.splitlines():
            if line.startswith("RESULT "):
                return Load.of(json.loads(line.removeprefix("RESULT ")))
        raise LoadFailed(f"wrk printed no result: {output.strip()[-500:]}")


@contextmanager
def wrk(
    url: str, case: Case, duration_s: float, pace_per_s: float = 0.0, api_key: str = ""
) -> Iterator[Wrk]:
    """
    Send requests to *url* with wrk for *duration_s*, at most until the block ends.

    Args:
        pace_per_s: requests per second, if the connections suffice; by default each connection
            sends its next request on a response.
        api_key: sent with each request, unless empty.
    """
    # wrk takes whole seconds only, and 0 means without end.
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
    # Of ended child processes: /proc has no entry of a process that has ended.
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
