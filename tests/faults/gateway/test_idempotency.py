"""Idempotency keys by the thousand on two replicas, in peace and while workers are killed."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.deployment import Deploy, Deployment, Gateway
from tests.support.idempotent_requests import (
    SENDS,
    Effects,
    are_equal,
    every,
    replays,
    send,
    send_all,
    send_until,
)
from tests.support.records import records_of

pytestmark = pytest.mark.faults

KEYS = [f"key-{number}" for number in range(2_000)]
KILL_PAUSE_S = 1.0
#: For so long clients repeat what has not got a reply, and for so long all of this goes on.
PATIENCE_S, LIMIT_S = 8.0, 45.0


def gateways_of(deployment: Deployment) -> list[Gateway]:
    return deployment.all_gateways


def test_thousands_of_keys_have_one_effect_and_one_reply_each(
    deploy: Deploy, record_property: Callable[[str, object], None]
):
    effects = Effects()
    env = {"REPLY_TIMEOUT_S": "20", "WEB_CONCURRENCY": "2"}
    with (
        deploy(gateways=2, responders=0, env=env) as deployment,
        effects.responder(deployment),
    ):
        started_s = time.monotonic()
        responses = send_all(gateways_of(deployment), KEYS, send)
        record_property("requests/s", round(len(KEYS) * SENDS / (time.monotonic() - started_s)))

    assert effects.of == dict.fromkeys(KEYS, 1)
    assert {response.status for of_key in responses.values() for response in of_key} == {201}
    assert {replays(of_key) for of_key in responses.values()} == {SENDS - 1}
    assert [key for key in KEYS if not are_equal(responses[key])] == []


def test_while_workers_are_killed_no_key_has_two_effects_or_two_replies(
    deploy: Deploy, record_property: Callable[[str, object], None]
):
    effects = Effects()
    chance = random.Random(1)
    killed: list[int] = []
    vain: set[str] = set()
    env = {"WEB_CONCURRENCY": "2"}
    with (
        deploy(gateways=2, responders=0, env=env) as deployment,
        effects.responder(deployment),
    ):
        gateways = gateways_of(deployment)

        def kill_a_worker() -> None:
            pid = chance.choice(chance.choice(gateways).worker_pids())
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

        client = send_until(time.monotonic() + LIMIT_S, PATIENCE_S, vain)
        with every(KILL_PAUSE_S, kill_a_worker):
            responses = send_all(gateways, KEYS, client)
        published = Counter(record.value.decode() for record in records_of(deployment, "echo"))

    answered = {key: of_key for key, of_key in responses.items() if of_key}
    # Claimed by a worker that was killed before Kafka had it: such a key stays taken.
    lost = vain - set(answered)
    record_property("workers killed", len(killed))
    record_property("keys answered", len(answered))
    record_property("keys without a reply", len(lost))
    record_property("of these, published", sum(published[key] for key in lost))
    record_property("replays", sum(map(replays, answered.values())))
    assert killed
    assert len(answered) > len(KEYS) / 4  # a slow machine does not come to all of them
    assert {response.status for of_key in answered.values() for response in of_key} == {201}
    assert [key for key, count in published.items() if count > 1] == []
    assert [key for key, count in effects.of.items() if count > 1] == []
    assert [key for key, of_key in answered.items() if not are_equal(of_key)] == []
    assert len(lost) < len(answered) / 20
