"""All threads of a process share one malloc arena, which saves memory."""

import ctypes
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.deployment import PROCFILE, Deploy
from tests.support.load import Load
from tools.devstack.process.procfile import start_process
from tools.devstack.process.procfs import children_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
        reason="arenas are recognised by the memory layout of glibc",
    ),
]

CLIENTS, REQUESTS = 16, 300
#: Address space that glibc reserves for an arena's heap, and its alignment; it is mapped in steps.
HEAP_BYTES = 64 << 20
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ 0 *$", re.MULTILINE)


def extra_arenas(pid: int) -> int:
    """Return the number of malloc arenas of process *pid* beside the main one."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    found = [(int(start, 16), int(end, 16), mode) for start, end, mode in MAPPING.findall(maps)]
    return sum(
        start % HEAP_BYTES == 0
        and mode == "rw-p"
        and next_mode == "---p"
        and (next_start, next_end) == (end, start + HEAP_BYTES)
        for (start, end, mode), (next_start, next_end, next_mode) in pairwise(found)
    )


@pytest.mark.parametrize(("env", "arenas"), [({}, "1"), ({"MALLOC_ARENA_MAX": "3"}, "3")])
@pytest.mark.parametrize("name", PROCFILE)
def test_the_number_of_arenas_is_one_unless_the_operator_sets_another(
    name: str, env: dict[str, str], arenas: str
):
    program = re.compile("gunicorn wsgi:app|python -m (?:replies|responder)")
    command, replaced = program.subn("printenv MALLOC_ARENA_MAX", PROCFILE[name])
    assert replaced == 1
    lines: list[str] = []

    assert start_process(command, env, lines.append).wait(10) == 0
    assert lines == [arenas]


def test_each_process_has_one_malloc_arena(deploy: Deploy):
    with deploy() as deployment:
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        arenas = {
            f"{name} {pid}": extra_arenas(pid)
            for name in ("web", "replies", "responder")
            for process in deployment.named(name)
            for pid in children_of(process.child.pid)
        }

    assert len(arenas) >= 4
    assert set(arenas.values()) == {0}, arenas
