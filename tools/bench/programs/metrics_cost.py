"""
CPU time of what a gateway counts for one request with a reply.

    python -m tools.bench.programs.metrics_cost

Once as without METRICS_PORT, where counts are in the memory of the process, and once as with it,
where they are in mapped files.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.output import print_line

REQUESTS, REPEATS = 2_000, 200
#: Of a child process: measure, in place of starting two.
CHILD = "child"


def main() -> None:
    """Print the time in microseconds for both."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        for name, env in (("unset", {}), ("set", {"PROMETHEUS_MULTIPROC_DIR": folder})):
            done = subprocess.run(
                [sys.executable, "-m", __spec__.name, CHILD],
                env=os.environ | env,
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            print_line(f"METRICS_PORT {name}: {done.stdout.strip()} us for each request")


def measure() -> float:
    """Return the least CPU time of one request over the repeats, in microseconds."""
    from gateway import metrics

    def count_request() -> None:
        sent_s = time.monotonic()
        acknowledgement = metrics.publish_of("echo")
        acknowledgement.observe(time.monotonic() - sent_s)
        metrics.replies_of("straight").inc()
        metrics.reply_wait_of("echo").observe(time.monotonic() - sent_s)
        metrics.outcomes_of("/echo", "reply").inc()
        metrics.sent_of("echo", "yes").inc()
        metrics.observe_response("/echo", "POST", 200, None, time.monotonic() - sent_s)

    best_s = float("inf")
    for _ in range(REPEATS):
        started_s = time.thread_time()
        for _ in range(REQUESTS):
            count_request()
        best_s = min(best_s, time.thread_time() - started_s)
    return 1e6 * best_s / REQUESTS


if __name__ == "__main__":
    if CHILD in sys.argv:
        print_line(f"{measure():.1f}")
    else:
        main()
