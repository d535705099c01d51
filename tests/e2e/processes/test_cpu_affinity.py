"""CPU affinity of workers."""

import os
import re
import signal
from contextlib import suppress

import pytest

from tests.support.deployment import Deploy, Deployment
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
    found: set[int] = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with suppress(ProcessLookupError):  # it has just ended
            found |= os.sched_getaffinity(int(thread))
    return found


def is_on_one_cpu(pid: int) -> bool:
    # Not at once: it may be moved just now.
    return wait_until(lambda: len(cpus_of(pid)) == 1 and cpus_of(pid) <= CPUS, 10)


def first_cpus(deployment: Deployment) -> dict[int, int]:
    """Return the CPU on which each worker began, by its process id."""
    found = re.findall(r"worker (\d+) is pinned to core (\d+)\b", deployment.gateway.logged())
    return {int(worker): int(cpu) for worker, cpu in found}


def test_each_worker_and_its_successor_begins_on_a_cpu_of_its_own(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": str(len(CPUS))}) as deployment:
        arbiter = deployment.gateway.child.pid
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        assert set(load.outcomes) == {OWN}
        before = workers_of(arbiter)
        assert all(map(is_on_one_cpu, before))
        assert sorted(first_cpus(deployment).values()) == sorted(CPUS)
        assert os.sched_getaffinity(arbiter) == CPUS

        os.kill(before[0], signal.SIGTERM)
        assert wait_until(
            lambda: before[0] not in workers_of(arbiter) and len(workers_of(arbiter)) == len(CPUS),
            10,
        )
        with Load([deployment.gateway], CLIENTS) as load:
            load.wait_for(REQUESTS)
        first = first_cpus(deployment)
        assert sorted(first[worker] for worker in workers_of(arbiter)) == sorted(CPUS)
        assert all(map(is_on_one_cpu, workers_of(arbiter)))


def test_a_single_worker_is_pinned_to_one_of_the_cpus(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": "1"}) as deployment:
        [worker] = workers_of(deployment.gateway.child.pid)
        assert is_on_one_cpu(worker)


def test_without_cpu_affinity_no_worker_is_pinned(deploy: Deploy):
    with deploy(env={"WEB_CONCURRENCY": "1", "CPU_AFFINITY": "no"}) as deployment:
        [worker] = workers_of(deployment.gateway.child.pid)
        assert cpus_of(worker) == CPUS
