"""
Metrics of all workers: their folder, and the process that serves it.

Each worker counts in files of its own, which prometheus_client maps into memory. A process beside
the workers adds them up: it answers while workers hang, end or cannot boot.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

#: Minimum time between two starts of the process, in seconds.
RESTART_S = 2.0
#: Maximum time of the last push, in seconds.
LAST_PUSH_LIMIT_S = 3.0

#: Of this server; a reload keeps it, and thereby what has been counted.
_current: "WorkerMetrics | None" = None


class WorkerMetrics:
    """
    The folder of the workers' counts, and the process that serves or pushes them.

    Args:
        port: METRICS_PORT; 0 for none.
        log_format: LOG_FORMAT.
        parent: where to make the folder, in memory if possible; None for the default.
    """

    def __init__(self, port: int, log_format: str, parent: str | None) -> None:
        self._port = port
        self._log_format = log_format
        self.folder = Path(tempfile.mkdtemp(prefix="rendezvous-metrics-", dir=parent))
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0

    def supervise(self, server: Any) -> None:
        """Start the process, and again whenever it has ended, while the arbiter *server* runs."""
        manage_workers = server.manage_workers

        def manage_all() -> None:
            manage_workers()
            self._keep_running(server.log)

        server.manage_workers = manage_all

    def close(self) -> None:
        """End the process and remove the folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)  # it pushes for the last time
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST_PUSH_LIMIT_S)
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep_running(self, log: Any) -> None:
        now_s = time.monotonic()
        if self._process is not None:
            if self._process.poll() is None or now_s - self._started_s < RESTART_S:
                return
            log.error("the process that serves metrics has ended; starting another one")
        self._started_s = now_s
        module = "gateway.server.metrics_process"
        arguments = (str(self._port), str(self.folder), str(os.getpid()), self._log_format)
        # A program of its own: a fork of the arbiter would keep its listening sockets open.
        self._process = subprocess.Popen([sys.executable, "-m", module, *arguments])


def worker_metrics(
    port: int, log_format: str, parent: str | None, *, are_pushed: bool
) -> WorkerMetrics | None:
    """
    Return those of this server, which end with this process.

    None without a *port*, unless the process pushes them.
    """
    global _current
    if (port or are_pushed) and _current is None:
        _current = WorkerMetrics(port, log_format, parent)
        atexit.register(partial(_close_in, os.getpid(), _current))
    return _current


def _close_in(pid: int, metrics: WorkerMetrics) -> None:
    if os.getpid() == pid:  # the workers, forks of it, run its exit functions too
        metrics.close()
