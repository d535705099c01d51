"""
Takes the workers of a gateway the possibility to start threads.

Not by RLIMIT_NPROC, which does not hold for root: each new thread reserves a stack, and the address
space is limited to less than one stack more. Other memory is small beside it.
"""

import re
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.devstack.process.procfs import children_of

STACK_BYTES = 256 * 1024 * 1024
SPARE_BYTES = STACK_BYTES - 16 * 1024 * 1024
#: Precedes the command of the gateway: the C library reads this limit when a process starts.
WITH_LARGE_STACKS = f"prlimit --stack={STACK_BYTES}"


@contextmanager
def no_new_threads(masters: Sequence[int]) -> Iterator[None]:
    """Let no worker of *masters* start a thread during the block."""
    workers = [pid for master in masters for pid in children_of(master)[1:]]
    for pid in workers:
        _limit(pid, address_space_bytes(pid) + SPARE_BYTES)
    try:
        yield
    finally:
        for pid in workers:
            _limit(pid, resource.RLIM_INFINITY)


def address_space_bytes(pid: int) -> int:
    """Return the size of the address space of process *pid*."""
    found = re.search(r"VmSize:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _limit(pid: int, size: int) -> None:
    with suppress(ProcessLookupError):  # it ended
        _, most = resource.prlimit(pid, resource.RLIMIT_AS)
        resource.prlimit(pid, resource.RLIMIT_AS, (size, most))
