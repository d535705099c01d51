"""Snapshots and steps of processes: what is written to Redis, and read again."""

import json

import pytest

from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.snapshots import HISTORY_S, KEEP_S, STEP_S, Snapshots

STEPS = HISTORY_S // STEP_S


@pytest.fixture
def snapshots(redis):
    return Snapshots(redis, "replies")


def test_a_snapshot_is_read_with_its_age(snapshots, redis):
    snapshots.write("aa", {"kind": "gateway"}, {})
    redis.pexpire("served:{replies}:live:aa", KEEP_S * 1000 - 4_000)

    (found,) = snapshots.read()

    assert (found.values["node"], found.values["kind"]) == ("aa", "gateway")
    assert 4 <= found.age_s < 5


def test_a_snapshot_replaces_that_of_the_same_process_only(snapshots):
    for node, state in (("aa", "running"), ("bb", "running"), ("aa", "stopped")):
        snapshots.write(node, {"state": state}, {})

    found = {s.values["node"]: s.values["state"] for s in snapshots.read()}

    assert found == {"aa": "stopped", "bb": "running"}


def test_a_clock_that_differs_shows_and_does_not_change_the_age(snapshots, monkeypatch):
    ahead_ms = epoch_ms() + 30_000
    with monkeypatch.context() as patch:
        patch.setattr("rendezvous.redis_store.snapshots.epoch_ms", lambda: ahead_ms)
        snapshots.write("aa", {}, {})

    (found,) = snapshots.read()

    assert found.age_s < 1
    assert 29 < found.clock_ahead_s < 31


def test_a_deployment_reads_nothing_of_another_one(snapshots, redis):
    Snapshots(redis, "other.replies").write("aa", {}, {"t": 1})

    assert (snapshots.read(), snapshots.read_steps(0)) == ([], [])


@pytest.mark.parametrize("value", [b"not JSON", b"[]", b"{}", b'{"written_ms": "x"}'])
def test_what_is_no_snapshot_is_left_out(snapshots, redis, value):
    snapshots.write("aa", {}, {})
    redis.set("served:{replies}:live:aa", value, ex=KEEP_S)

    assert snapshots.read() == []


def test_steps_are_kept_for_twice_the_length_of_the_history(snapshots):
    for number in range(1_000, 1_000 + 2 * STEPS + 20):
        snapshots.write("aa", {}, {"t": number})
        snapshots.write("bb", {}, {"t": number})

    numbers = [step["t"] for step in snapshots.read_steps(0)]

    assert len(numbers) == 2 * 2 * STEPS
    assert [step["node"] for step in snapshots.read_steps(1_000 + 2 * STEPS + 19)] == ["aa", "bb"]


def test_a_clock_that_is_ahead_by_the_length_of_the_history_removes_no_step_of_it(snapshots):
    for number in range(1_000, 1_000 + STEPS):
        snapshots.write("aa", {}, {"t": number})
    snapshots.write("bb", {}, {"t": 1_000 + 2 * STEPS - 1})

    nodes = [step["node"] for step in snapshots.read_steps(1_000)]

    assert nodes == ["aa"] * STEPS + ["bb"]


def test_all_keys_expire_and_are_in_one_slot(snapshots, redis):
    snapshots.write("aa", {}, {"t": 1})

    keys = redis.keys()

    assert len(keys) == 3
    assert all(key.startswith(b"served:{replies}:live") and redis.ttl(key) > 0 for key in keys)


def test_what_another_program_put_among_the_steps_is_left_out(snapshots, redis):
    redis.zadd("served:{replies}:live:history", {b"\xff": 1, json.dumps({"t": "x"}): 1})

    assert snapshots.read_steps(0) == []


def test_without_redis_reading_and_writing_raise(snapshots, redis_server):
    redis_server.connected = False

    for use in (lambda: snapshots.write("aa", {}, {}), snapshots.read):
        with pytest.raises(StoreUnavailable):
            use()
