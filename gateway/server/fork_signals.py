"""
What a worker is told while it is forked.

Between fork() and its own signal handlers a worker has those of the arbiter, which put the signal
into a queue that nobody reads: told to stop, it would serve on until it is killed.
"""

import os
import signal

#: What gunicorn stops its workers with.
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}


def block_signals_across_fork() -> None:
    """Keep from now on what a process is told to stop with until release_signals() in the child."""
    release_signals()  # a binary upgrade is a fork too, whose child inherits what is held
    os.register_at_fork(before=_hold, after_in_parent=release_signals)


def release_signals() -> None:
    """Take what was held; to be called once the handlers are there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
