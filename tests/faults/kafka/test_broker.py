"""A broker that hangs, dies, comes back, and comes back with nothing."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from responder.clock_skew import CLOCK_TOLERANCE_MS
from tests.support.deployment import Deploy, Deployment, Gateway
from tests.support.load import Attempt, Load, expired_count, missing_replies, post_echo
from tools.devstack.kafka.embedded import EmbeddedBroker
from tools.devstack.kafka.topics import create_topics
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 30.0
#: What an answer may take beyond the reply timeout.
SLACK_S = 0.2
#: How soon requests are answered once a broker that lost everything has its topics again.
REBUILT_S = 10.0
#: Its handler says in the log that it ran.
BOMB = json.dumps({"item": "bomb", "quantity": 1}).encode()


@contextmanager
def down(server: Server) -> Iterator[None]:
    """Kill *server* as a crash does, and start it again at the end."""
    server.kill()
    try:
        yield
    finally:
        server.restart()


def all_gateways_answer(deployment: Deployment) -> bool:
    return all(
        post_echo(gateway, b"again").is_own
        for gateway in deployment.named("web")
        if isinstance(gateway, Gateway)
    )


def are_own(last: list[Attempt]) -> bool:
    return len(last) == 20 and all(a.is_own for a in last)


def test_a_request_that_a_hanging_broker_appends_too_late_is_not_handled(
    deploy: Deploy,
):
    with deploy() as deployment:
        timeout_s = deployment.settings.reply_timeout_s
        (responder,) = deployment.named("responder")
        deployment.kafka.pause()
        try:
            started_s = time.monotonic()
            ghost = deployment.gateway.post("/orders", BOMB)
            # Before, the responder would take the difference for that of two clocks.
            over_s = timeout_s + CLOCK_TOLERANCE_MS / 1000 + 0.5
            time.sleep(max(started_s + over_s - time.monotonic(), 0))
        finally:
            deployment.kafka.resume()
        dropped = f"{ghost.correlation_id}: dropped, its deadline passed"
        assert wait_until(lambda: dropped in responder.logged(), LIMIT_S), deployment.logs()
        assert wait_until(lambda: all_gateways_answer(deployment), LIMIT_S)
        assert responder.child.stop(10) == 0

    assert ghost.status == 503
    assert ghost.elapsed_s < timeout_s + SLACK_S
    assert ghost.json["sent"] == "unknown"
    assert "expired 1" in responder.logged()
    assert "failed" not in responder.logged()


def test_a_request_to_a_broker_that_died_is_told_in_time_and_never_as_sent(
    deploy: Deploy,
):
    with deploy() as deployment:
        timeout_s = deployment.settings.reply_timeout_s
        with down(deployment.kafka):
            at_once = deployment.gateway.post("/echo", b"at once")
            later = deployment.gateway.post("/echo", b"later")

    for response in (at_once, later):
        assert response.status == 503
        assert response.elapsed_s < timeout_s + SLACK_S
        assert response.json["type"] == "/problems/not-sent"
        assert response.json["sent"] in ("no", "unknown")


def test_service_resumes_by_itself_when_a_broker_that_lost_everything_has_its_topics_again(
    deploy: Deploy, record_property: Callable[[str, object], None]
):
    with deploy(gateways=2) as deployment:
        if not isinstance(deployment.kafka, EmbeddedBroker):
            pytest.skip("it keeps what it has")
        pids = [process.child.pid for process in deployment.processes]
        with down(deployment.kafka):
            pass
        names = [deployment.prefix + topic for topic in ("echo", "orders", "replies")]
        create_topics(deployment.settings.kafka_connection(), names, deployment.partitions)
        started_s = time.monotonic()
        gateways = deployment.all_gateways
        # Side by side: each worker process finds out with a request of its own, which it loses.
        with Load(gateways, clients=8, rate=20, keep_alive=False) as load:
            assert wait_until(lambda: are_own(load.since(started_s)[-20:]), LIMIT_S), (
                deployment.logs()
            )
        lost = [a for a in load.attempts if not a.is_own]
        took_s = max((a.ended_s for a in lost), default=started_s) - started_s
        record_property("requests lost", len(lost))
        record_property("last of them ended, s after the topics were there", round(took_s, 1))
        # Each worker process has a producer of its own, and each finds out by itself.
        deployment.wait_until_ready()

        assert all(process.child.returncode is None for process in deployment.processes)
        assert [process.child.pid for process in deployment.processes] == pids
    assert took_s < REBUILT_S


def test_no_acknowledged_request_is_lost_when_a_broker_comes_back_with_what_it_had(
    deploy: Deploy, record_property: Callable[[str, object], None]
):
    with deploy(gateways=2, env={"REPLY_RETENTION_S": "120"}) as deployment:
        if isinstance(deployment.kafka, EmbeddedBroker):
            pytest.skip("it keeps nothing")
        gateways = deployment.all_gateways
        with Load(gateways, clients=16, rate=80, keep_alive=False) as load:
            time.sleep(2)
            killed_s = time.monotonic()
            with down(deployment.kafka):
                time.sleep(2)
            back_s = time.monotonic()
            assert wait_until(
                lambda: len([a for a in load.since(back_s) if a.is_own]) > 100, LIMIT_S
            ), deployment.logs()
        errors = [attempt for attempt in load.attempts if attempt.status != 200]
        for attempt in errors:
            assert attempt.response is not None, attempt.error
        timed_out = [a for a in errors if a.sent == "yes"]

        missing = missing_replies(timed_out, deployment.gateway, LIMIT_S)
        (responder,) = deployment.named("responder")
    record_property("errors", len(errors))
    record_property("sent yes among them", len(timed_out))
    record_property(
        "last error after the broker was back, s",
        max((a.ended_s for a in errors), default=back_s) - back_s,
    )
    assert killed_s < back_s
    assert [str(a) for a in load.attempts if a.status == 200 and not a.has_own_body] == []
    assert [str(a) for a in errors if a.status != 503] == []
    # A request that reaches the responder long after its deadline is not begun, and counted.
    assert len(missing) <= expired_count(responder), [str(a) for a in missing]
