"""How the kernel schedules the threads of a process."""

import os
from contextlib import suppress


def do_not_preempt() -> None:
    """
    Let a thread that becomes ready wait until the running one blocks or has used its time slice.

    Threads that share the GIL gain nothing from running at once: a thread that wakes another one
    holds the GIL still, so each wake-up would cost two or three thread switches. For this thread
    and those that it starts (SCHED_BATCH, see sched(7)); does nothing where it is not allowed, or
    another policy than the default was chosen.
    """
    if not hasattr(os, "SCHED_BATCH"):  # only Linux has it
        return
    with suppress(OSError):  # a sandbox may forbid it
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
