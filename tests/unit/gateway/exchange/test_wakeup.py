"""Wake-up sources of the reply poller: timeout, new waiter, notification."""

import math
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from gateway.exchange import wakeup as wakeup_module
from gateway.exchange.wakeup import PollerWakeup, WakeReason
from rendezvous.errors import StoreUnavailable

LONG_S = 20.0


class FakeNotifications:
    """Notifications that the test sends through a socket pair."""

    def __init__(self) -> None:
        self._receiver, self.sender = socket.socketpair()
        self._receiver.setblocking(False)
        self.is_closed = False
        self.is_useless = False

    def fileno(self) -> int:
        return self._receiver.fileno()

    def take(self) -> bool:
        try:
            return bool(self._receiver.recv(4096))
        except BlockingIOError:
            return True

    def check(self) -> bool:
        return not self.is_useless

    def close(self) -> None:
        self.is_closed = True
        self._receiver.close()


@pytest.fixture
def notifications() -> Iterator[FakeNotifications]:
    notifications = FakeNotifications()
    yield notifications
    notifications.close()
    notifications.sender.close()


@pytest.fixture
def wakeup(notifications: FakeNotifications) -> Iterator[PollerWakeup]:
    wakeup = PollerWakeup(lambda: notifications)
    wakeup.subscribe()
    yield wakeup
    wakeup.close()


@pytest.mark.parametrize("timeout_s", [-1.0, 0.0, 0.0004, 0.0035, 0.02])
def test_a_wait_ends_at_its_timeout(wakeup: PollerWakeup, timeout_s: float):
    began_s = time.monotonic()

    assert wakeup.wait(timeout_s) is WakeReason.TIMEOUT
    assert time.monotonic() - began_s >= timeout_s


@pytest.mark.parametrize("with_notifications", [True, False])
def test_another_thread_can_wake_the_poller(wakeup: PollerWakeup, with_notifications: bool):
    threading.Timer(0.05, wakeup.wake).start()

    assert wakeup.wait(LONG_S, with_notifications=with_notifications) is WakeReason.NEW_WAITER
    assert wakeup.wait(0) is WakeReason.TIMEOUT


def test_many_wake_calls_between_two_waits_end_the_next_one(wakeup: PollerWakeup):
    for _ in range(100_000):  # more bytes than the socket buffers
        wakeup.wake()
    reasons = [wakeup.wait(0) for _ in range(10)]

    assert reasons[0] is WakeReason.NEW_WAITER
    assert reasons[-1] is WakeReason.TIMEOUT


def test_waking_a_closed_poller_has_no_effect():
    wakeup = PollerWakeup()
    wakeup.close()
    # These get the file descriptors that have become free.
    others = [end for _ in range(4) for end in socket.socketpair()]

    wakeup.wake()

    assert select.select(others, [], [], 0)[0] == []
    for other in others:
        other.close()


def test_a_notification_wakes_the_poller_once(
    wakeup: PollerWakeup, notifications: FakeNotifications
):
    notifications.sender.send(b"!")

    assert wakeup.wait(LONG_S) is WakeReason.NOTIFICATION
    assert wakeup.wait(0) is WakeReason.TIMEOUT


def test_a_notification_that_woke_nothing_can_be_taken_later(
    wakeup: PollerWakeup, notifications: FakeNotifications
):
    notifications.sender.send(b"!")

    assert wakeup.wait(0.01, with_notifications=False) is WakeReason.TIMEOUT
    assert wakeup.take_notification()
    assert not wakeup.take_notification()


def test_the_end_of_a_subscription_wakes_the_poller_which_subscribes_again_after_a_pause(
    wakeup: PollerWakeup, notifications: FakeNotifications, monkeypatch: pytest.MonkeyPatch
):
    assert wakeup.is_subscribed
    notifications.sender.close()

    assert wakeup.wait(LONG_S) is WakeReason.NOTIFICATION
    assert notifications.is_closed
    assert not wakeup.is_subscribed
    assert wakeup.wait(0.01) is WakeReason.TIMEOUT
    wakeup.subscribe()  # too soon
    assert not wakeup.is_subscribed
    new = FakeNotifications()
    monkeypatch.setattr(wakeup, "_subscribe", lambda: new)
    monkeypatch.setattr(wakeup_module, "RESUBSCRIBE_PAUSE_S", 0.0)
    wakeup.subscribe()
    assert wakeup.is_subscribed
    new.sender.send(b"!")
    assert wakeup.wait(LONG_S) is WakeReason.NOTIFICATION
    new.sender.close()


def test_a_useless_subscription_is_replaced_at_once(
    wakeup: PollerWakeup, notifications: FakeNotifications, monkeypatch: pytest.MonkeyPatch
):
    wakeup.subscribe()
    assert not notifications.is_closed
    notifications.is_useless = True
    new = FakeNotifications()
    monkeypatch.setattr(wakeup, "_subscribe", lambda: new)

    wakeup.subscribe()

    assert notifications.is_closed
    new.sender.send(b"!")
    assert wakeup.wait(LONG_S) is WakeReason.NOTIFICATION
    new.sender.close()


def test_a_refused_subscription_is_logged_and_tried_again_after_a_pause(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    attempts: list[int] = []

    def refuse() -> FakeNotifications:
        attempts.append(1)
        raise StoreUnavailable("Redis denies it: allow SUBSCRIBE")

    caplog.set_level("INFO")
    wakeup = PollerWakeup(refuse)
    for _ in range(3):
        wakeup.subscribe()
    reason = wakeup.wait(0.01)
    monkeypatch.setattr(wakeup_module, "RESUBSCRIBE_PAUSE_S", -math.inf)
    wakeup.subscribe()
    wakeup.close()

    assert reason is WakeReason.TIMEOUT
    assert not wakeup.is_subscribed
    assert len(attempts) == 2
    assert "allow SUBSCRIBE" in caplog.text
