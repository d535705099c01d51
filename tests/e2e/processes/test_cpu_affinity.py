"""Where there are as many workers as cores, each keeps to one, and so does who follows it."""

import os
import signal

import pytest

from tests.support.deployment import Deploy
from tests.support.load import OWN, Load
from tools.devstack.process.procfs import children_of
from tools.devstack.waiting import wait_until

CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not 2 <= len(CORES) <= 8, reason="needs Linux, and 2 to 8 cores"),
]

CLIENTS, REQUESTS = 8, 100


def workers_of(arbiter: int) -> list[int]:
    return children_of(arbiter)[1:]


def cores_of(pid: int) -> set[int]:
    """Return the cores on which any thread of *pid* may run."""
    threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    return set().union(*map(os.sched_getaffinity, threads))


def each_keeps_to_another(workers: list[int]) -> bool:
    return sorted(map(sorted, map(cores_of, workers))) == [[core] for core in sorted(CORES)]


def test_each_worker_keeps_to_a_core_and_so_does_who_follows_it(
    deploy: Deploy,
):
    with deploy(env={"WEB_CONCURRENCY": str(len(CORES))}) as deployment:
        arbiter = deployment.gateway.child.pid
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        assert set(load.outcomes) == {OWN}
        before = workers_of(arbiter)
        assert each_keeps_to_another(before)
        assert os.sched_getaffinity(arbiter) == CORES

        os.kill(before[0], signal.SIGTERM)
        assert wait_until(
            lambda: before[0] not in workers_of(arbiter) and len(workers_of(arbiter)) == len(CORES),
            10,
        )
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        assert each_keeps_to_another(workers_of(arbiter))


def test_a_worker_that_is_alone_keeps_to_none(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        [worker] = workers_of(deployment.gateway.child.pid)
        assert cores_of(worker) == CORES
