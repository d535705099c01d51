"""A responder that is killed at every moment of a request: one effect, and its reply arrives."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.responder.side_effect_responder import MOMENTS
from tests.faults.responder.side_effects import TIMEOUT_S, EffectsDeployment
from tests.support.deployment import Response
from tools.devstack.process.server import Server

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def deployment(
    kafka: Server, redis_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EffectsDeployment]:
    folder: Path = tmp_path_factory.mktemp("crashes")
    with EffectsDeployment(kafka, redis_server, folder, partitions=1) as deployment:
        yield deployment


def answer_over_a_crash(deployment: EffectsDeployment, journal: str, moment: str) -> Response:
    """Return what a client gets whose responder is killed at *moment* and replaced."""
    doomed = deployment.start_responder(journal, DIE_AT=moment)
    with ThreadPoolExecutor(1) as client:
        waiting = client.submit(deployment.gateway.post, "/effects", moment.encode())
        assert doomed.child.wait(TIMEOUT_S) == -signal.SIGKILL
        successor = deployment.start_responder(journal)
        response = waiting.result()
    # One partition: it has taken up the first when it answers the next.
    assert deployment.gateway.post("/effects", b"next").status == 201
    deployment.stop(successor)
    return response


@pytest.mark.parametrize("moment", MOMENTS)
def test_effect_and_reply_in_one_transaction_happen_once_whenever_it_crashes(
    deployment: EffectsDeployment, moment: str
):
    response = answer_over_a_crash(deployment, "sql", moment)

    assert response.status == 201, deployment.logs()
    # The second time the handler gets its first reply from its own database.
    assert_harmless(deployment, response, moment, handled=2)


@pytest.mark.parametrize("moment", [m for m in MOMENTS if "effect" not in m])
def test_a_reply_saved_in_redis_is_repeated_and_not_its_effect(
    deployment: EffectsDeployment, moment: str
):
    response = answer_over_a_crash(deployment, "redis", moment)

    assert response.status == 201, deployment.logs()
    assert_harmless(deployment, response, moment, handled=1)


@pytest.mark.parametrize(
    ("moment", "effects"),
    [("before the effect", 1), ("before the effect is committed", 1), ("after the effect", 2)],
)
def test_a_journal_in_redis_cannot_tell_a_crash_before_the_effect_from_one_after_it(
    deployment: EffectsDeployment, moment: str, effects: int
):
    response = answer_over_a_crash(deployment, "redis", moment)

    assert response.status == 201, deployment.logs()
    assert deployment.effects.counts()[response.correlation_id] == effects


def assert_harmless(
    deployment: EffectsDeployment, response: Response, moment: str, handled: int
) -> None:
    """The handler ran so often, unless the offset was committed; there is one effect."""
    cid = response.correlation_id
    deliveries = deployment.effects.counts("deliveries")[cid]
    assert deliveries in ({1, handled} if moment == "while the offset is committed" else {handled})
    assert deployment.effects.counts()[cid] == 1
    stored = deployment.gateway.get(f"/replies/{cid}")
    assert (stored.status, stored.body) == (201, response.body)
