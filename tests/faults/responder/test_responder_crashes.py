"""A responder is killed at each moment of a request."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.responder.side_effect_responder import MOMENTS
from tests.faults.responder.side_effects import TIMEOUT_S, SideEffectDeployment
from tests.support.deployment import Response
from tools.devstack.process.server import Server

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SideEffectDeployment]:
    folder: Path = tmp_path_factory.mktemp("crashes")
    with SideEffectDeployment(kafka, redis_server, folder, partitions=1) as deployment:
        yield deployment


def response_despite_crash(deployment: SideEffectDeployment, journal: str, moment: str) -> Response:
    """Return the response to a request whose responder is killed at *moment* and replaced."""
    killed = deployment.start_responder(journal, DIE_AT=moment)
    with ThreadPoolExecutor(1) as client:
        waiting = client.submit(deployment.gateway.post, "/effects", moment.encode())
        assert killed.child.wait(TIMEOUT_S) == -signal.SIGKILL
        successor = deployment.start_responder(journal)
        response = waiting.result()
    # One partition: the first request is handled before this one.
    assert deployment.gateway.post("/effects", b"next").status == 201
    deployment.stop(successor)
    return response


@pytest.mark.parametrize("moment", MOMENTS)
def test_effect_and_reply_in_one_transaction_happen_once_at_any_crash(
    deployment: SideEffectDeployment, moment: str
):
    response = response_despite_crash(deployment, "sql", moment)

    assert response.status == 201, deployment.logs()
    # The second call of the handler returns the reply from the database.
    assert_one_effect(deployment, response, moment, handled=2)


@pytest.mark.parametrize("moment", [m for m in MOMENTS if "effect" not in m])
def test_a_reply_in_the_redis_journal_is_replayed_without_a_second_effect(
    deployment: SideEffectDeployment, moment: str
):
    response = response_despite_crash(deployment, "redis", moment)

    assert response.status == 201, deployment.logs()
    assert_one_effect(deployment, response, moment, handled=1)


@pytest.mark.parametrize(
    ("moment", "effects"),
    [("before the effect", 1), ("before the effect is committed", 1), ("after the effect", 2)],
)
def test_a_redis_journal_repeats_the_effect_after_a_crash_between_effect_and_save(
    deployment: SideEffectDeployment, moment: str, effects: int
):
    response = response_despite_crash(deployment, "redis", moment)

    assert response.status == 201, deployment.logs()
    assert deployment.effects.counts()[response.correlation_id] == effects


def assert_one_effect(
    deployment: SideEffectDeployment, response: Response, moment: str, handled: int
) -> None:
    """Assert one effect and *handled* handler calls, or one if the offset was committed."""
    cid = response.correlation_id
    deliveries = deployment.effects.counts("deliveries")[cid]
    assert deliveries in ({1, handled} if moment == "while the offset is committed" else {handled})
    assert deployment.effects.counts()[cid] == 1
    stored = deployment.gateway.fetch(cid)
    assert (stored.status, stored.body) == (201, response.body)
