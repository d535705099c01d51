"""Thousands of idempotency keys on two replicas, with and without worker kills."""

import os
import random
import signal
import time
from collections import Counter

import pytest

from tests.support.deployment import Deploy
from tests.support.idempotent_requests import (
    REPEATS,
    CountingResponder,
    are_equal,
    every,
    replays,
    send,
    send_all,
    send_with_retries,
)
from tests.support.records import records_of
from tests.support.report import RecordProperty

pytestmark = pytest.mark.faults

KEYS = [f"key-{number}" for number in range(2_000)]
#: Interval between kills, in seconds.
KILL_INTERVAL_S = 1.0
#: Maximum time for one key, and for all, in seconds.
KEY_LIMIT_S, LIMIT_S = 8.0, 45.0


def test_thousands_of_keys_have_one_effect_and_one_reply_each(
    deploy: Deploy, record_property: RecordProperty
):
    effects = CountingResponder()
    env = {"REPLY_TIMEOUT_S": "20", "WEB_CONCURRENCY": "2"}
    with deploy(gateways=2, responders=0, env=env) as deployment, effects.started_for(deployment):
        started_s = time.monotonic()
        responses = send_all(deployment.all_gateways, KEYS, send)
        record_property("requests/s", round(len(KEYS) * REPEATS / (time.monotonic() - started_s)))

    assert effects.by_body == dict.fromkeys(KEYS, 1)
    assert {response.status for per_key in responses.values() for response in per_key} == {201}
    assert {replays(per_key) for per_key in responses.values()} == {REPEATS - 1}
    assert [key for key in KEYS if not are_equal(responses[key])] == []


def test_no_key_has_two_effects_or_two_replies_while_workers_are_killed(
    deploy: Deploy, record_property: RecordProperty
):
    effects = CountingResponder()
    random_ = random.Random(1)
    killed: list[int] = []
    given_up: set[str] = set()
    env = {"WEB_CONCURRENCY": "2"}
    with deploy(gateways=2, responders=0, env=env) as deployment, effects.started_for(deployment):
        gateways = deployment.all_gateways

        def kill_a_worker() -> None:
            pid = random_.choice(random_.choice(gateways).worker_pids())
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

        client = send_with_retries(time.monotonic() + LIMIT_S, KEY_LIMIT_S, given_up)
        with every(KILL_INTERVAL_S, kill_a_worker):
            responses = send_all(gateways, KEYS, client)
        published = Counter(record.value.decode() for record in records_of(deployment, "echo"))

    answered = {key: per_key for key, per_key in responses.items() if per_key}
    # A worker killed between claiming and publishing leaves its key claimed.
    lost = given_up - set(answered)
    record_property("workers killed", len(killed))
    record_property("keys answered", len(answered))
    record_property("keys without a reply", len(lost))
    record_property("of these, published", sum(published[key] for key in lost))
    record_property("replays", sum(map(replays, answered.values())))
    assert killed
    assert len(answered) > len(KEYS) / 4  # a slow machine does not reach all keys
    assert {response.status for per_key in answered.values() for response in per_key} == {201}
    assert [key for key, count in published.items() if count > 1] == []
    assert [key for key, count in effects.by_body.items() if count > 1] == []
    assert [key for key, per_key in answered.items() if not are_equal(per_key)] == []
    assert len(lost) < len(answered) / 20
