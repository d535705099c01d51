"""A broker hangs, is killed, and restarts with or without its data."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from responder.clock_skew import CLOCK_TOLERANCE_MS
from tests.support.brokers import on_apache_kafka, on_embedded_broker
from tests.support.deployment import Deploy, Deployment, Gateway
from tests.support.load import Attempt, Load, expired_count, missing_replies, post_echo
from tests.support.report import RecordProperty
from tools.devstack.kafka.topics import create_topics
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.faults

LIMIT_S = 30.0
#: Maximum latency above the reply timeout, in seconds.
SLACK_S = 0.2
#: Maximum time until requests succeed once the topics are recreated, in seconds.
RECOVERY_S = 10.0
#: Its handler fails, which is logged.
BOMB = json.dumps({"item": "bomb", "quantity": 1}).encode()


@contextmanager
def down(server: Server) -> Iterator[None]:
    """Kill *server*; restart it at the end of the block."""
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


def are_20_own(last: list[Attempt]) -> bool:
    return len(last) == 20 and all(a.is_own for a in last)


def test_a_request_that_a_hanging_broker_appends_after_its_deadline_is_not_handled(deploy: Deploy):
    with deploy() as deployment:
        timeout_s = deployment.settings.reply_timeout_s
        (responder,) = deployment.named("responder")
        deployment.kafka.pause()
        try:
            started_s = time.monotonic()
            late = deployment.gateway.post("/orders", BOMB)
            # Any earlier, the responder attributes the delay to clock skew.
            over_s = timeout_s + CLOCK_TOLERANCE_MS / 1000 + 0.5
            time.sleep(max(started_s + over_s - time.monotonic(), 0))
        finally:
            deployment.kafka.resume()
        dropped = "dropped, its deadline passed"
        assert wait_until(lambda: dropped in responder.logged(), LIMIT_S), deployment.logs()
        assert wait_until(lambda: all_gateways_answer(deployment), LIMIT_S)
        assert responder.child.stop(10) == 0

    assert late.status == 503
    assert late.elapsed_s < timeout_s + SLACK_S
    assert late.json["sent"] == "unknown"
    assert "expired 1" in responder.logged()
    assert "failed" not in responder.logged()


def test_requests_to_a_killed_broker_fail_in_time_and_not_as_sent(deploy: Deploy):
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


@on_embedded_broker  # it loses its data
def test_processes_recover_once_the_topics_of_a_broker_without_data_are_recreated(
    deploy: Deploy, record_property: RecordProperty
):
    with deploy(gateways=2) as deployment:
        pids = [process.child.pid for process in deployment.processes]
        with down(deployment.kafka):
            pass
        names = [deployment.prefix + topic for topic in ("echo", "orders", "replies")]
        create_topics(deployment.settings.kafka_connection(), names, deployment.partitions)
        started_s = time.monotonic()
        gateways = deployment.all_gateways
        # Concurrent: each worker detects it with a request of its own, which fails.
        with Load(gateways, clients=8, rate=20, keep_alive=False) as load:
            assert wait_until(lambda: are_20_own(load.since(started_s)[-20:]), LIMIT_S), (
                deployment.logs()
            )
        lost = [a for a in load.attempts if not a.is_own]
        took_s = max((a.ended_s for a in lost), default=started_s) - started_s
        record_property("requests lost", len(lost))
        record_property("last of them ended, s after the topics were there", round(took_s, 1))
        deployment.wait_until_ready()

        assert all(process.child.returncode is None for process in deployment.processes)
        assert [process.child.pid for process in deployment.processes] == pids
    assert took_s < RECOVERY_S


@on_apache_kafka  # it keeps its data
def test_no_acknowledged_request_is_lost_when_a_broker_restarts_with_its_data(
    deploy: Deploy, record_property: RecordProperty
):
    with deploy(gateways=2, env={"REPLY_RETENTION_S": "120"}) as deployment:
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
    # Requests that reach the responder after their deadline are counted as expired.
    assert len(missing) <= expired_count(responder), [str(a) for a in missing]
