"""Idempotency-Key: one record and one reply per key, on any replica."""

import pytest

from tests.support.deployment import Deploy
from tests.support.idempotent_requests import (
    REPEATS,
    CountingResponder,
    are_equal,
    replays,
    send,
    send_all,
)

pytestmark = [pytest.mark.e2e, pytest.mark.any_broker]

KEYS = [f"key-{number}" for number in range(100)]


def test_repeated_and_concurrent_requests_with_a_key_have_one_effect_and_one_reply(deploy: Deploy):
    effects = CountingResponder()
    # Above the default, so that a slow machine does not time out.
    env = {"REPLY_TIMEOUT_S": "20"}
    with deploy(gateways=2, responders=0, env=env) as deployment, effects.started_for(deployment):
        gateways = deployment.all_gateways
        responses = send_all(gateways, KEYS, send)
        later = {key: send(gateways[n % 2], key) for n, key in enumerate(KEYS)}
        other = gateways[0].post("/echo", b"another body", Idempotency_Key=KEYS[0])

    assert effects.by_body == dict.fromkeys(KEYS, 1)
    assert {response.status for per_key in responses.values() for response in per_key} == {201}
    for key in KEYS:
        assert len(responses[key]) == REPEATS
        assert replays(responses[key]) == REPEATS - 1
        assert replays([later[key]]) == 1
        assert are_equal([*responses[key], later[key]]), key
    assert (other.status, other.json["type"]) == (422, "/problems/idempotency-key-reused")


def test_a_replay_needs_no_kafka(deploy: Deploy):
    with deploy(gateways=2, env={"WEB_CONCURRENCY": "1"}) as deployment:
        gateways = deployment.all_gateways
        first = send(gateways[0], "key")
        deployment.kafka.pause()
        try:
            again = [send(gateway, "key") for gateway in gateways]
        finally:
            deployment.kafka.resume()

    assert (first.status, first.body) == (200, b"key")
    assert are_equal([first, *again])
    assert replays(again) == 2
