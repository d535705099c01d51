"""The poller's sleep: it ends in time, by a ring or by a hint, and no hint is needed for that."""

import math
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.exchange import wakeup as alarm_module
from gateway.exchange.wakeup import PollerSleep, WakeReason
from rendezvous.errors import StoreUnavailable

LONG_S = 20.0


class FakeHints:
    """Hints from the other end of a pair of sockets."""

    def __init__(self) -> None:
        self._near, self.far = socket.socketpair()
        self._near.setblocking(False)
        self.is_closed = False

    def fileno(self) -> int:
        return self._near.fileno()

    def take(self) -> bool:
        try:
            return bool(self._near.recv(4096))
        except BlockingIOError:
            return True

    def close(self) -> None:
        self.is_closed = True
        self._near.close()


@pytest.fixture
def hints() -> Iterator[FakeHints]:
    hints = FakeHints()
    yield hints
    hints.close()
    hints.far.close()


@pytest.fixture
def alarm(hints: FakeHints) -> Iterator[PollerSleep]:
    alarm = PollerSleep(lambda: hints)
    alarm.listen()
    yield alarm
    alarm.close()


@pytest.mark.parametrize("pause_s", [0.0, 0.0004, 0.0035, 0.02])
def test_a_sleep_lasts_as_long_as_it_is_to(alarm: PollerSleep, pause_s: float):
    began_s = time.monotonic()

    assert alarm.sleep(pause_s) is WakeReason.IN_TIME
    assert time.monotonic() - began_s >= pause_s


def test_a_pause_that_is_over_is_none(alarm: PollerSleep):
    assert alarm.sleep(-1.0) is WakeReason.IN_TIME


def test_a_ring_ends_the_sleep_from_any_thread(alarm: PollerSleep):
    threading.Timer(0.05, alarm.ring).start()

    assert alarm.sleep(LONG_S) is WakeReason.RUNG
    assert alarm.sleep(0) is WakeReason.IN_TIME


def test_a_ring_between_two_sleeps_ends_the_next_one_and_many_are_as_one(alarm: PollerSleep):
    for _ in range(100_000):  # more than the bell can hold
        alarm.ring()
    woken = [alarm.sleep(0) for _ in range(1_000)]

    assert woken[0] is WakeReason.RUNG
    assert woken[-1] is WakeReason.IN_TIME


def test_a_ring_after_the_end_is_heard_by_nobody():
    alarm = PollerSleep()
    alarm.close()

    alarm.ring()


def test_a_hint_ends_the_sleep_once(alarm: PollerSleep, hints: FakeHints):
    hints.far.send(b"hint")

    assert alarm.sleep(LONG_S) is WakeReason.HINTED
    assert alarm.sleep(0) is WakeReason.IN_TIME


def test_a_hint_that_is_not_heeded_is_found_later(alarm: PollerSleep, hints: FakeHints):
    hints.far.send(b"hint")

    assert alarm.sleep(0.01, heed_hints=False) is WakeReason.IN_TIME
    assert alarm.hinted()
    assert not alarm.hinted()


def test_a_ring_is_heard_when_hints_are_not_heeded(alarm: PollerSleep):
    alarm.ring()

    assert alarm.sleep(LONG_S, heed_hints=False) is WakeReason.RUNG


def test_hints_that_end_are_a_hint_and_asked_for_again(
    alarm: PollerSleep, hints: FakeHints, monkeypatch: pytest.MonkeyPatch
):
    assert alarm.listens
    hints.far.close()

    assert alarm.sleep(LONG_S) is WakeReason.HINTED
    assert hints.is_closed
    assert not alarm.listens
    assert alarm.sleep(0.01) is WakeReason.IN_TIME
    alarm.listen()  # too soon
    assert not alarm.listens
    new = FakeHints()
    monkeypatch.setattr(alarm, "_new_hints", lambda: new)
    monkeypatch.setattr(alarm_module, "ASK_AGAIN_S", 0.0)
    alarm.listen()
    assert alarm.listens
    new.far.send(b"hint")
    assert alarm.sleep(LONG_S) is WakeReason.HINTED
    new.far.close()


def test_who_gets_no_hints_sleeps_without_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []

    def refuse() -> FakeHints:
        asked.append(1)
        raise StoreUnavailable("Redis denies it: allow SUBSCRIBE")

    caplog.set_level("INFO")
    alarm = PollerSleep(refuse)
    for _ in range(3):
        alarm.listen()
    woken = alarm.sleep(0.01)
    monkeypatch.setattr(alarm_module, "ASK_AGAIN_S", -math.inf)
    alarm.listen()
    alarm.close()

    assert woken is WakeReason.IN_TIME
    assert not alarm.listens
    assert len(asked) == 2
    assert "allow SUBSCRIBE" in caplog.text
