"""Parts start once per process, after any fork, and are closed in reverse order."""

import atexit
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import lifecycle as lifecycles
from gateway.lifecycle import Lifecycle, register, registered
from tests.fakes import RecordingPart


@pytest.fixture
def events():
    return []


@pytest.fixture
def lifecycle(events):
    lifecycle = Lifecycle()
    lifecycle.add(RecordingPart("a", events), RecordingPart("b", events))
    return lifecycle


def test_parts_start_in_order_and_close_in_reverse(lifecycle, events):
    lifecycle.ensure_started()
    lifecycle.close()

    assert events == ["start a", "start b", "close b", "close a"]


def test_concurrent_first_requests_start_the_parts_once(lifecycle, events, monkeypatch):
    # Long enough for all requests to come before the parts are started.
    start = RecordingPart.start

    def start_slowly(part):
        time.sleep(0.02)
        start(part)

    monkeypatch.setattr(RecordingPart, "start", start_slowly)
    with ThreadPoolExecutor(8) as requests:
        for _ in range(8):
            requests.submit(lifecycle.ensure_started)

    assert events == ["start a", "start b"]


def test_added_parts_are_neither_started_nor_closed(lifecycle, events):
    lifecycle.close()

    assert events == []


def test_closing_twice_closes_once(lifecycle, events):
    lifecycle.ensure_started()
    lifecycle.close()
    lifecycle.close()

    assert events.count("close a") == 1


def test_a_forked_process_starts_its_parts_and_does_not_close_its_parents(
    lifecycle, events, monkeypatch
):
    lifecycle.ensure_started()
    monkeypatch.setattr(os, "getpid", lambda: 4_711)  # as a child sees it
    lifecycle.close()
    closed_by_child = events[2:]
    lifecycle.ensure_started()

    assert closed_by_child == []
    assert events == ["start a", "start b"] * 2


def test_the_lifecycle_drains_when_the_server_does(lifecycle):
    before = lifecycle.draining()
    lifecycle.stopping = lambda: True

    assert (before, lifecycle.draining()) == (False, True)


def test_the_server_finds_the_registered_lifecycle(lifecycle, monkeypatch):
    at_exit: list[object] = []
    monkeypatch.setattr(lifecycles, "_registered", None)
    monkeypatch.setattr(atexit, "register", at_exit.append)

    register(lifecycle)

    assert registered() is lifecycle
    assert at_exit == [lifecycle.close]


def test_a_wsgi_module_that_registers_no_gateway_is_an_error(monkeypatch):
    monkeypatch.setattr(lifecycles, "_registered", None)

    with pytest.raises(LookupError, match=r"call gateway\.lifecycle\.register\(\) in wsgi\.py"):
        registered()
