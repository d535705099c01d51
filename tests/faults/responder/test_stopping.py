"""A responder is stopped while a handler works."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.faults.responder.side_effects import TIMEOUT_S, SideEffectDeployment
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

#: Time that a handler takes, by the number of deliveries of its request: a stopping responder keeps
#: its partitions for 5 s.
WORK_S = {1: 3, 2: 9}


@pytest.fixture
def deployment(
    kafka: Server, redis_server: Server, tmp_path: Path
) -> Iterator[SideEffectDeployment]:
    with SideEffectDeployment(kafka, redis_server, tmp_path, partitions=1) as deployment:
        yield deployment


@pytest.mark.parametrize("deliveries", WORK_S)
def test_a_handler_that_ends_after_the_stop_is_answered_and_has_its_effect_once(
    deployment: SideEffectDeployment, deliveries: int
):
    work_s = str(WORK_S[deliveries])
    stopped = deployment.start_responder("sql", EFFECTS_WORK_S=work_s)
    with ThreadPoolExecutor(1) as client:
        waiting = client.submit(deployment.gateway.post, "/effects", b"slow")
        assert wait_until(partial(deployment.effects.has_delivery_to, stopped), TIMEOUT_S)
        stopped.child.terminate()
        if deliveries == 1:  # not before the end: its joining could move the partition
            stopped.child.wait(TIMEOUT_S)
        deployment.start_responder("sql", EFFECTS_WORK_S=work_s)
        response = waiting.result()
    code = stopped.child.wait(TIMEOUT_S)
    # One partition: a repeated request would be handled before this one.
    next_response = deployment.gateway.post("/effects", b"next")

    assert (response.status, next_response.status) == (201, 201), deployment.logs()
    assert code == 0
    ids = (response.correlation_id, next_response.correlation_id)
    assert deployment.effects.counts() == dict.fromkeys(ids, 1)
    assert deployment.effects.counts("deliveries") == {ids[0]: deliveries, ids[1]: 1}
