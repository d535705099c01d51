"""Why a reply would not arrive in time, in words."""

import pytest

from gateway.health.reply_path import ReplyPathHealth
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.heartbeats import PathState
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
def reply_path_health(mailbox, path):
    return ReplyPathHealth(mailbox, path, reply_timeout_s=3.0, retention_s=60.0)


def test_a_way_back_in_order_is_no_problem(reply_path_health):
    assert reply_path_health.ask() is None
    assert reply_path_health.warning is None


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
def test_what_keeps_replies_from_arriving_is_told(reply_path_health, path, found, words):
    path.found = found

    assert words in (reply_path_health.ask() or "")


@pytest.mark.parametrize(
    "found", [PathState((), 2.9, 0.0), PathState((), 0.0, 62.9), PathState((), 0.0, -3_600.0)]
)
def test_what_still_lets_them_arrive_is_no_problem(reply_path_health, path, found):
    path.found = found

    assert reply_path_health.ask() is None


@pytest.mark.parametrize(
    ("ahead_s", "words"), [(30.0, "30 s ahead of"), (-3_600.0, "3600 s behind")]
)
def test_clocks_that_differ_are_a_warning_and_logged_once(
    reply_path_health, path, caplog, ahead_s, words
):
    path.found = PathState((), 0.0, ahead_s)
    reply_path_health.ask()
    reply_path_health.ask()

    assert words in reply_path_health.warning
    assert caplog.text.count(words) == 1


def test_the_warning_goes_when_the_clocks_agree_again(reply_path_health, path):
    path.found = PathState((), 0.0, 30.0)
    reply_path_health.ask()
    path.found = PathState((), 0.0, 1.9)
    reply_path_health.ask()

    assert reply_path_health.warning is None


def test_redis_is_asked_what_a_waiter_would_ask(reply_path_health, mailbox, redis_server):
    redis_server.connected = False

    assert "Redis cannot be reached" in (reply_path_health.ask() or "")
    eventually(lambda: mailbox.trouble is not None)
