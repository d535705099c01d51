"""The files in which workers count, and the process that adds them up."""

import os
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry

from gateway.server import worker_metrics as module
from gateway.server.metrics_process import WorkerFiles
from gateway.server.worker_metrics import WorkerMetrics

COUNTS = """
import sys
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.values import ValueClass
Counter("things_total", "Things", ["kind"]).labels("a").inc(int(sys.argv[1]))
Histogram("seconds", "Time", buckets=[1.0]).observe(0.5)
Gauge("load", "Load", multiprocess_mode="livesum").set(7)
sys.stdin.read()
"""


class Worker:
    """A process that counts *number* things, until it is ended."""

    def __init__(self, folder, number):
        env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", COUNTS, str(number)], env=env, stdin=subprocess.PIPE
        )

    def end(self):
        self.process.communicate()


def values(folder):
    registry = CollectorRegistry()
    registry.register(WorkerFiles(folder))
    sample = registry.get_sample_value
    return (
        sample("things_total", {"kind": "a"}),
        sample("seconds_bucket", {"le": "1.0"}),
        sample("seconds_count"),
        sample("load"),
    )


def test_counts_of_workers_that_have_ended_stay_and_their_gauges_go(tmp_path):
    for number in (1, 2, 3):
        worker = Worker(tmp_path, number)
        worker.end()
    assert values(tmp_path) == (6, 3, 3, None)
    assert {file.name for file in tmp_path.iterdir()} == {"counter_0.db", "histogram_0.db"}

    worker = Worker(tmp_path, 4)
    worker.end()
    assert values(tmp_path) == values(tmp_path) == (10, 4, 4, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 8, b"\xff\x00\x00\x00" + b"\xff" * 400],
    ids=["empty", "zeros", "no entries"],
)
def test_a_file_that_a_worker_began_as_it_was_killed_stops_nothing(tmp_path, content, caplog):
    worker = Worker(tmp_path, 1)
    pid = worker.process.pid
    worker.end()
    (tmp_path / f"counter_{2**22 + 1}.db").write_bytes(content)  # above the largest process id
    assert values(tmp_path)[0] == 1

    (tmp_path / f"counter_{os.getpid()}.db").write_bytes(b"")  # of a worker that has just begun
    assert values(tmp_path)[0] == 1
    assert pid not in WorkerFiles(tmp_path).workers()


def test_the_process_is_started_again_when_it_has_ended(tmp_path, monkeypatch):
    started = []

    def start(arguments):
        started.append(SimpleNamespace(poll=Mock(return_value=None)))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(module, "RESTART_S", 0.0)
    server = Mock(manage_workers=Mock())
    WorkerMetrics(9100, "text", str(tmp_path)).supervise(server)
    server.manage_workers()
    server.manage_workers()
    assert len(started) == 1

    started[0].poll.return_value = 1
    server.manage_workers()
    assert len(started) == 2
    server.log.error.assert_called_once()


CONFIGURATION = """
import os, runpy, sys
conf = runpy.run_path("gunicorn.conf.py")
print("prometheus_client" in sys.modules, os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
"""


@pytest.mark.parametrize("port", ["", "9100"])
def test_the_folder_is_chosen_before_the_library_is_imported_and_removed_at_the_end(port):
    settings = {"KAFKA_URL": "127.0.0.1:1", "SECRET_KEY": "b1946ac92492d2347c6235b4d2611184"}
    done = subprocess.run(
        [sys.executable, "-c", CONFIGURATION],
        env=os.environ | settings | {"METRICS_PORT": port},
        capture_output=True,
        text=True,
        check=True,
    )

    imported, folder = done.stdout.rstrip("\n").split(" ", 1)
    assert imported == "False"
    assert bool(folder) is bool(port)
    assert not folder or not os.path.exists(folder)
