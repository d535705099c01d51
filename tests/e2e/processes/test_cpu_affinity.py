"""CPU affinity of workers."""

import os
import signal

import pytest

from tests.support.deployment import Deploy
from tests.support.load import OWN, Load
from tools.devstack.process.procfs import children_of
from tools.devstack.waiting import wait_until

CPUS = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not 2 <= len(CPUS) <= 8, reason="needs Linux, and 2 to 8 CPUs"),
]

CLIENTS, REQUESTS = 8, 100


def workers_of(arbiter: int) -> list[int]:
    return children_of(arbiter)[1:]


def cpus_of(pid: int) -> set[int]:
    """Return the CPUs on which any thread of *pid* may run."""
    threads = [int(thread) for thread in os.listdir(f"/proc/{pid}/task")]
    return set().union(*map(os.sched_getaffinity, threads))


def are_pinned_to_distinct_cpus(workers: list[int]) -> bool:
    return sorted(map(sorted, map(cpus_of, workers))) == [[cpu] for cpu in sorted(CPUS)]


def test_each_worker_and_its_successor_is_pinned_to_a_cpu_of_its_own(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": str(len(CPUS))}) as deployment:
        arbiter = deployment.gateway.child.pid
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        assert set(load.outcomes) == {OWN}
        before = workers_of(arbiter)
        assert are_pinned_to_distinct_cpus(before)
        assert os.sched_getaffinity(arbiter) == CPUS

        os.kill(before[0], signal.SIGTERM)
        assert wait_until(
            lambda: before[0] not in workers_of(arbiter) and len(workers_of(arbiter)) == len(CPUS),
            10,
        )
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        assert are_pinned_to_distinct_cpus(workers_of(arbiter))


def test_a_single_worker_is_pinned_to_one_of_the_cpus(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        [worker] = workers_of(deployment.gateway.child.pid)
        assert len(cpus_of(worker)) == 1
        assert cpus_of(worker) <= CPUS


def test_without_cpu_affinity_no_worker_is_pinned(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": "1", "CPU_AFFINITY": "no"}) as deployment:
        [worker] = workers_of(deployment.gateway.child.pid)
        assert cpus_of(worker) == CPUS
