"""Health of the reply path: problems and warnings."""

import pytest

from gateway.health.reply_path import ReplyPathHealth
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.heartbeats import PathState
from tests.fakes import eventually

HEALTHY = PathState(unread=(), foreign=(), lag_s=0.0, clock_ahead_s=0.0)


class FakeHeartbeats:
    topic = "replies"

    def __init__(self):
        self.found = HEALTHY

    def state(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def heartbeats():
    return FakeHeartbeats()


@pytest.fixture
def health(poller, heartbeats):
    return ReplyPathHealth(poller, heartbeats, reply_timeout_s=3.0, retention_s=60.0)


def test_a_healthy_reply_path_has_no_problem_and_no_warning(health):
    assert health.problem() is None
    assert health.warning is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "no replies process reads topic replies; start one"),
        (StoreUnavailable("Redis is out of memory"), "Redis is out of memory"),
        (PathState((1, 3), (), 0.0, 0.0), "reads partition 1, 3 of topic replies"),
        (
            PathState((), (0, 2), 0.0, 0.0),
            "processes that read partition 0, 2 of topic replies use another SECRET_KEY than this "
            "gateway and drop its replies; set the same SECRET_KEY for web and replies",
        ),
        # What is read with the wrong key cannot be reassigned until the key is corrected.
        (PathState((1,), (0,), 9.0, 0.0), "another SECRET_KEY"),
        (PathState((), (), 3.5, 0.0), "4 s late"),
        (PathState((), (), 0.0, 64.0), "64 s ahead of this gateway's, so every reply counts as"),
    ],
)
def test_a_reply_path_that_delays_or_loses_replies_is_a_problem(health, heartbeats, found, words):
    heartbeats.found = found

    assert words in (health.problem() or "")


@pytest.mark.parametrize(
    "found",
    [PathState((), (), 2.9, 0.0), PathState((), (), 0.0, 62.9), PathState((), (), 0.0, -3_600.0)],
)
def test_a_lag_or_a_clock_difference_within_the_limits_is_no_problem(health, heartbeats, found):
    heartbeats.found = found

    assert health.problem() is None


@pytest.mark.parametrize(
    ("ahead_s", "words"), [(30.0, "30 s ahead of"), (-3_600.0, "3600 s behind")]
)
def test_a_clock_difference_is_a_warning_and_logged_once(
    health, heartbeats, caplog, ahead_s, words
):
    heartbeats.found = PathState((), (), 0.0, ahead_s)
    health.problem()
    health.problem()

    assert words in health.warning
    assert caplog.text.count(words) == 1


def test_the_warning_ends_when_the_clocks_agree_again(health, heartbeats):
    heartbeats.found = PathState((), (), 0.0, 30.0)
    health.problem()
    heartbeats.found = PathState((), (), 0.0, 1.9)
    health.problem()

    assert health.warning is None


def test_an_unreachable_redis_is_a_problem_and_noticed_by_the_poller(health, poller, redis_server):
    redis_server.connected = False

    assert "Redis cannot be reached" in (health.problem() or "")
    eventually(lambda: poller.store_error is not None)
