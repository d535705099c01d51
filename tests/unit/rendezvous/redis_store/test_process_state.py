"""The state that a process without HTTP leaves in Redis."""

import os
import time

import pytest

from rendezvous.redis_store.process_state import ProcessState, StateWriter
from rendezvous.redis_store.snapshots import Snapshots
from tests.fakes import eventually


@pytest.fixture
def snapshots(redis):
    return Snapshots(redis, "replies")


@pytest.fixture
def state(snapshots):
    return ProcessState(snapshots, "responder", {"topics": ["orders"]})


def test_a_writer_renews_the_state_and_says_when_the_process_stops(snapshots, state, monkeypatch):
    monkeypatch.setattr("rendezvous.redis_store.process_state.INTERVAL_S", 0.01)
    problems = ["Kafka is not connected yet"]
    writer = StateWriter(state, lambda: {"problems": list(problems)})
    writer.start()
    end_s = time.monotonic() + 10
    while not snapshots.read() and time.monotonic() < end_s:
        time.sleep(0.01)
    (first,) = snapshots.read()
    writer.close()
    (last,) = snapshots.read()

    assert (first.values["state"], first.values["problems"]) == ("running", problems)
    assert (first.values["topics"], first.values["pid"]) == (["orders"], os.getpid())
    assert (last.values["state"], last.values["problems"]) == ("stopped", [])


def test_a_writer_survives_an_error_of_its_values(snapshots, state, monkeypatch, caplog):
    monkeypatch.setattr("rendezvous.redis_store.process_state.INTERVAL_S", 0.01)
    failures = [RuntimeError("changed during iteration")]

    def values():
        if failures:
            raise failures.pop()
        return {}

    writer = StateWriter(state, values)
    writer.start()
    eventually(snapshots.read)
    writer.close()

    assert "writing the state of this process failed" in caplog.text


def test_without_redis_nothing_is_raised(state, redis_server):
    redis_server.connected = False

    state.write({})
