"""How many heaps the threads of a process have."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from rendezvous.process.heap import use_one_arena

IS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
#: Threads that all live and have asked for memory, then what glibc tells of its heaps.
MANY_THREADS = """
import ctypes, sys, threading
from rendezvous.process.heap import use_one_arena

use_one_arena()
together = threading.Barrier(9)

def hold():
    held = bytearray(100_000)
    together.wait()
    together.wait()

for _ in range(8):
    threading.Thread(target=hold).start()
together.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
together.wait()
"""


def heaps(further: Mapping[str, str]) -> int:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    found = subprocess.run(
        [sys.executable, "-c", MANY_THREADS],
        env=inherited | dict(further),
        capture_output=True,
        check=True,
        timeout=30,
    )
    return found.stdout.count(b"<heap nr=")


@pytest.mark.skipif(not IS_GLIBC, reason="mallopt is glibc's")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 1),
        ({"GLIBC_TUNABLES": "glibc.malloc.tcache_count=7"}, 1),
        # Whoever runs it decides.
        ({"MALLOC_ARENA_MAX": "3"}, 3),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=3"}, 3),
    ],
)
def test_all_threads_share_one_heap_unless_the_environment_says_otherwise(environment, expected):
    assert heaps(environment) == expected


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("rendezvous.process.heap.ctypes.CDLL", lambda name: object())
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)

    use_one_arena()
