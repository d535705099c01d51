"""Parts start once per process, after any fork, and are closed the other way round."""

import atexit
import os
import threading
import time

import pytest

from gateway import lifecycle as lifecycles
from gateway.lifecycle import Lifecycle, register, registered
from tests.fakes import FakePart


@pytest.fixture
def diary():
    return []


@pytest.fixture
def lifecycle(diary):
    lifecycle = Lifecycle()
    lifecycle.add(FakePart("a", diary), FakePart("b", diary))
    return lifecycle


def test_nothing_starts_before_it_is_asked_for(lifecycle, diary):
    assert diary == []


def test_parts_start_in_order_and_close_in_reverse(lifecycle, diary):
    lifecycle.ensure_started()
    lifecycle.close()

    assert diary == ["start a", "start b", "close b", "close a"]


def test_parts_start_once_however_many_requests_come_first(lifecycle, diary, monkeypatch):
    # Starting takes long enough for the others to come meanwhile.
    start_at_once = FakePart.start

    def start_slowly(part):
        time.sleep(0.02)
        start_at_once(part)

    monkeypatch.setattr(FakePart, "start", start_slowly)
    threads = [threading.Thread(target=lifecycle.ensure_started) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert diary == ["start a", "start b"]


def test_what_was_not_started_is_not_closed(lifecycle, diary):
    lifecycle.close()

    assert diary == []


def test_closing_twice_closes_once(lifecycle, diary):
    lifecycle.ensure_started()
    lifecycle.close()
    lifecycle.close()

    assert diary.count("close a") == 1


def test_a_forked_process_starts_its_own_and_leaves_its_parents_alone(
    lifecycle, diary, monkeypatch
):
    lifecycle.ensure_started()
    monkeypatch.setattr(os, "getpid", lambda: 4_711)  # as a child sees it
    lifecycle.close()
    closed_by_child = diary[2:]
    lifecycle.ensure_started()

    assert closed_by_child == []
    assert diary == ["start a", "start b"] * 2


def test_the_server_says_when_the_process_is_finishing(lifecycle):
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
