"""Why a reply would not arrive in time, in words."""

import pytest

from gateway.way_back import WayBack
from replies.errors import StoreUnavailable
from replies.reply_path import PathState
from tests.fakes import eventually

IN_ORDER = PathState(unread=(), lag_s=0.0, clock_ahead_s=0.0)


class Path:
    topic = "replies"

    def __init__(self):
        self.found = IN_ORDER

    def state(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def path():
    return Path()


@pytest.fixture
def way_back(mailbox, path):
    return WayBack(mailbox, path, reply_timeout_s=3.0, retention_s=60.0)


def test_a_way_back_in_order_is_no_problem(way_back):
    assert way_back.ask() is None
    assert way_back.warning is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "no replies process reads topic replies: start one"),
        (StoreUnavailable("Redis is out of memory"), "Redis is out of memory"),
        (PathState((1, 3), 0.0, 0.0), "reads partition 1, 3 of topic replies"),
        (PathState((), 3.5, 0.0), "4 s late"),
        (PathState((), 0.0, 64.0), "64 s ahead of this gateway's: set both (NTP); so every reply"),
    ],
)
def test_what_keeps_replies_from_arriving_is_told(way_back, path, found, words):
    path.found = found

    assert words in (way_back.ask() or "")


@pytest.mark.parametrize(
    "found", [PathState((), 2.9, 0.0), PathState((), 0.0, 62.9), PathState((), 0.0, -3_600.0)]
)
def test_what_still_lets_them_arrive_is_no_problem(way_back, path, found):
    path.found = found

    assert way_back.ask() is None


@pytest.mark.parametrize(
    ("ahead_s", "words"), [(30.0, "30 s ahead of"), (-3_600.0, "3600 s behind")]
)
def test_clocks_that_differ_are_a_warning_and_logged_once(way_back, path, caplog, ahead_s, words):
    path.found = PathState((), 0.0, ahead_s)
    way_back.ask()
    way_back.ask()

    assert words in way_back.warning
    assert caplog.text.count(words) == 1


def test_the_warning_goes_when_the_clocks_agree_again(way_back, path):
    path.found = PathState((), 0.0, 30.0)
    way_back.ask()
    path.found = PathState((), 0.0, 1.9)
    way_back.ask()

    assert way_back.warning is None


def test_redis_is_asked_what_a_waiter_would_ask(way_back, mailbox, redis_server):
    redis_server.connected = False

    assert "Redis cannot be reached" in (way_back.ask() or "")
    eventually(lambda: mailbox.trouble is not None)
