"""A process that can start no thread, and can again afterwards."""

import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tools.attack.thread_limit import WITH_LARGE_STACKS, no_new_threads
from tools.devstack.process.procfs import children_of

#: Starts itself as a worker, which tries to start a thread for each line that it reads.
WORKER = """
import sys, threading
print("ready", flush=True)
for line in sys.stdin:
    try:
        threading.Thread(target=bytearray, args=(10_000_000,)).start()
        print("started", flush=True)
    except RuntimeError as error:
        print(error, flush=True)
"""
MASTER = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.fixture
def master() -> Iterator["subprocess.Popen[str]"]:
    command = [*shlex.split(WITH_LARGE_STACKS), sys.executable, "-c", MASTER, WORKER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


def start_thread(process: "subprocess.Popen[str]") -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_no_thread_can_be_started_during_the_block_only(master: "subprocess.Popen[str]"):
    assert len(children_of(master.pid)) == 2

    with no_new_threads([master.pid]):
        assert start_thread(master) == "can't start new thread"

    assert start_thread(master) == "started"
