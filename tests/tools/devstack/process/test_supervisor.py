"""When the parent dies, its child processes end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.devstack.support import LIMIT_S, PARENT_AND_CHILD, ROOT, has_ended, limited
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int], str]]:
    script = tmp_path / "parent.py"
    script.write_text(
        "import signal, sys, time\n"
        "from tools.devstack.kafka.embedded import EmbeddedBroker\n"
        "from tools.devstack.process.child import Child\n"
        "from tools.devstack.embedded_redis import EmbeddedRedis\n"
        # A shell starts background processes with SIGINT ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "broker, redis = EmbeddedBroker().start(), EmbeddedRedis().start()\n"
        "output = []\n"
        f"both = Child.start([sys.executable, '-c', {PARENT_AND_CHILD!r}], output=output.append)\n"
        "while not output: time.sleep(0.01)\n"
        "print(broker.pid, redis.pid, both.pid, broker.folder, flush=True)\n"
        "time.sleep(1000)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    with limited(parent), parent, parent.stdout as output:
        *pids, folder = output.readline().split()
        yield parent, list(map(int, pids)), folder
        parent.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_and_folder_do_not_outlive_the_parent(
    number: int, parent: tuple["subprocess.Popen[str]", list[int], str]
):
    process, pids, folder = parent
    assert not any(map(has_ended, pids))

    process.send_signal(number)

    assert wait_until(lambda: all(map(has_ended, pids)), LIMIT_S)
    assert wait_until(lambda: not Path(folder).exists(), LIMIT_S)


def test_paused_processes_do_not_outlive_the_parent(
    parent: tuple["subprocess.Popen[str]", list[int], str],
):
    process, pids, _ = parent
    for pid in pids:
        os.killpg(pid, signal.SIGSTOP)

    process.kill()

    assert wait_until(lambda: all(map(has_ended, pids)), LIMIT_S)
