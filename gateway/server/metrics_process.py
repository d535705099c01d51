"""
Entry point of the process with the metrics of all workers; the arbiter starts it.

    python -m gateway.server.metrics_process PORT FOLDER ARBITER LOG_FORMAT
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from rendezvous.process.logs import configure_logs
from rendezvous.process.monitoring.management import ManagementServer
from rendezvous.process.monitoring.push import start_push
from rendezvous.process.stdio import make_output_nonblocking

logger = logging.getLogger(__name__)

#: Interval of checks for the arbiter, and for files of ended workers, in seconds.
CHECK_INTERVAL_S = 0.5
#: In place of a process id: the sums of workers that have ended.
ENDED = "0"


class WorkerFiles(Collector):
    """
    The metrics in the files of the workers.

    What a worker that has ended counted is added to one file: restarts make no more files, and no
    count decreases. Its gauges vanish.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all workers together."""
        with self._lock:
            self._retire_ended()
            # A worker may have just created a file, which is empty for a moment.
            files = [str(file) for file in self._folder.glob("*.db") if file.stat().st_size]
            return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]

    def retire_ended(self) -> None:
        """Replace the files of workers that have ended."""
        with self._lock:
            self._retire_ended()

    def workers(self) -> set[int]:
        """Return the ids of running processes that have files."""
        return {pid for _, pid in self._files() if _runs(pid)}

    def _files(self) -> Iterator[tuple[Path, int]]:
        """Yield each file of a process, and the id of the process."""
        for file in self._folder.glob("*.db"):
            pid = file.stem.rpartition("_")[2]
            if pid.isdecimal() and pid != ENDED:
                yield file, int(pid)

    def _retire_ended(self) -> None:
        for file, pid in list(self._files()):
            if _runs(pid):
                continue
            if not file.name.startswith("gauge_"):
                try:
                    self._add_up(file)
                except (
                    RuntimeError,
                    ValueError,
                    struct.error,
                ) as error:  # it was killed while it began a file
                    logger.error("counts of worker %d are lost: %s: %s", pid, file.name, error)
            if not file.name.startswith("gauge_") or file.name.startswith("gauge_live"):
                file.unlink()

    def _add_up(self, file: Path) -> None:
        kind = file.stem.rpartition("_")[0]
        entries = [entry[:2] for entry in MmapedDict.read_all_values_from_file(str(file))]  # type: ignore[no-untyped-call]
        for key, _ in entries:
            json.loads(key)  # as each scrape will do
        total = MmapedDict(str(file.with_name(f"{kind}_{ENDED}.db")))  # type: ignore[no-untyped-call]
        for key, value in entries:
            total.write_value(key, total.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
        total.close()  # type: ignore[no-untyped-call]


def main(environ: Mapping[str, str]) -> None:
    """Serve until SIGUSR1, or until the arbiter and all workers have ended."""
    port, folder, arbiter, log_format = sys.argv[1:]
    # To the last: a stop signal often goes to all processes, and the workers drain after it.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ending = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: ending.set())
    make_output_nonblocking()
    configure_logs(log_format)
    files = WorkerFiles(Path(folder))
    registry = CollectorRegistry()
    registry.register(files)
    if int(port):
        ManagementServer(int(port), registry).start()
    push_last = start_push("rendezvous-gateway", environ, registry)
    while os.getppid() == int(arbiter) and not ending.wait(CHECK_INTERVAL_S):
        with contextlib.suppress(OSError):  # the arbiter has removed the folder
            files.retire_ended()
    # Without a signal the arbiter was killed, and its workers drain.
    while not ending.is_set() and files.workers():
        time.sleep(CHECK_INTERVAL_S)
    push_last()
    shutil.rmtree(folder, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, which has the id now
        return False
    return True


if __name__ == "__main__":
    main(os.environ)
