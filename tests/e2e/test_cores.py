"""Where there are as many workers as cores, each keeps to one, and so does who follows it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.waiting import wait_until
from tests.e2e.deployment import Deployment
from tests.e2e.load import OWN, Load

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not 2 <= len(CORES) <= 8, reason="needs Linux, and 2 to 8 cores"),
]

CLIENTS, REQUESTS = 8, 100


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in children.split()]


def cores_of(pid: int) -> set[int]:
    """Return the cores on which any thread of *pid* may run."""
    threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    return set().union(*map(os.sched_getaffinity, threads))


def test_each_worker_keeps_to_a_core_and_so_does_who_follows_it(
    deploy: Callable[..., Deployment],
):
    with deploy(env={"WEB_CONCURRENCY": str(len(CORES))}) as deployment:
        arbiter = deployment.gateway.child.pid
        with Load([deployment.gateway], CLIENTS) as load:
            load.goes_on(REQUESTS)
        assert set(load.endings) == {OWN}
        before = workers_of(arbiter)
        assert sorted(map(tuple, map(cores_of, before))) == [(core,) for core in sorted(CORES)]
        assert os.sched_getaffinity(arbiter) == CORES

        os.kill(before[0], signal.SIGTERM)
        wait_until(
            lambda: before[0] not in workers_of(arbiter) and len(workers_of(arbiter)) == len(CORES),
            10,
        )
        with Load([deployment.gateway], CLIENTS) as load:
            load.goes_on(REQUESTS)
        after = workers_of(arbiter)
        assert sorted(map(tuple, map(cores_of, after))) == [(core,) for core in sorted(CORES)]


def test_a_worker_that_is_alone_keeps_to_none(deploy: Callable[..., Deployment]):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        [worker] = workers_of(deployment.gateway.child.pid)
        assert cores_of(worker) == CORES
