"""The threads of a process share one heap: a second one would be memory for nobody."""

import ctypes
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.deployment import Deploy
from tests.support.load import Load
from tools.devstack.process.procfs import children_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
        reason="heaps are counted as glibc lays them out",
    ),
]

CLIENTS, REQUESTS = 16, 300
#: glibc reserves so much for each heap of a thread, aligned to as much, and opens it bit by bit.
HEAP_BYTES = 64 << 20
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ 0 *$", re.MULTILINE)


def further_heaps(pid: int) -> int:
    """Return how many heaps process *pid* has beside its first one."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    found = [(int(start, 16), int(end, 16), mode) for start, end, mode in MAPPING.findall(maps)]
    return sum(
        start % HEAP_BYTES == 0
        and mode == "rw-p"
        and next_mode == "---p"
        and (next_start, next_end) == (end, start + HEAP_BYTES)
        for (start, end, mode), (next_start, next_end, next_mode) in pairwise(found)
    )


def test_each_process_has_one_heap(deploy: Deploy):
    with deploy() as deployment:
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        heaps = {
            f"{name} {pid}": further_heaps(pid)
            for name in ("web", "replies", "responder")
            for process in deployment.named(name)
            for pid in children_of(process.child.pid)
        }

    assert len(heaps) >= 4
    assert set(heaps.values()) == {0}, heaps
