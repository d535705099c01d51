"""One request for each idempotency key, whichever replica it comes to, and one reply for all."""

import pytest

from tests.support.deployment import Deploy
from tests.support.idempotent_requests import SENDS, Effects, are_equal, replays, send, send_all

pytestmark = pytest.mark.e2e

KEYS = [f"key-{number}" for number in range(100)]


def test_a_key_has_one_effect_and_one_reply_however_often_and_wherever_it_is_sent(
    deploy: Deploy,
):
    effects = Effects()
    # The point is whose answers come, on a machine that may be slow.
    env = {"REPLY_TIMEOUT_S": "20"}
    with (
        deploy(gateways=2, responders=0, env=env) as deployment,
        effects.responder(deployment),
    ):
        gateways = deployment.all_gateways
        responses = send_all(gateways, KEYS, send)
        later = {key: send(gateways[n % 2], key) for n, key in enumerate(KEYS)}
        other = gateways[0].post("/echo", b"another body", Idempotency_Key=KEYS[0])

    assert effects.of == dict.fromkeys(KEYS, 1)
    assert {response.status for of_key in responses.values() for response in of_key} == {201}
    for key in KEYS:
        assert len(responses[key]) == SENDS
        assert replays(responses[key]) == SENDS - 1
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
