"""What a process is told while it is forked reaches the handlers that it installs then."""

import subprocess
import sys

import pytest

#: The handler of the parent stands for the arbiter's, whose queue the child never reads.
PROGRAM = """
import os, signal, sys
from gateway.server.fork_signals import block_signals_across_fork, release_signals

number = getattr(signal, sys.argv[1])
signal.signal(number, lambda *_: print("lost", flush=True))
block_signals_across_fork()
if os.fork() == 0:
    os.kill(os.getpid(), number)
    signal.signal(number, lambda *_: print("heard", flush=True))
    release_signals()
    os._exit(0)
os.wait()
os.kill(os.getpid(), number)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_a_worker_hears_what_came_before_its_handlers_and_the_arbiter_goes_on_hearing(name):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, name],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert run.stdout.split() == ["heard", "lost"]
