"""A dead responder costs its own topic, not the others; it is in service again at once."""

import contextlib

import pytest

from gateway.exchange.breaker import MIN_ENDED, PROBES, WINDOW_S, Breakers
from gateway.problems import (
    BadReply,
    BodyTooLarge,
    NotSent,
    ReplyStoreUnavailable,
    ReplyTimeout,
    ResponderSilent,
    Sent,
)
from tests.fakes import FakeClock

TIMEOUT_S = 3.0


@pytest.fixture
def clock():
    return FakeClock(1_000.0)


@pytest.fixture
def breakers(clock):
    return Breakers({"dead": TIMEOUT_S, "healthy": TIMEOUT_S}, clock)


def exchange(breakers, topic="dead", problem=None):
    with breakers.admit(topic):
        if problem is not None:
            raise problem


def timeout(sent=Sent.YES):
    return ReplyTimeout("no reply", status=503, correlation_id="id", sent=sent)


def time_out(breakers, clock, times=MIN_ENDED, topic="dead"):
    for _ in range(times):
        clock.now_s += 4.0 / MIN_ENDED
        with pytest.raises(ReplyTimeout):
            exchange(breakers, topic, timeout())


def is_open(breakers, topic="dead"):
    """Say whether a request is turned away while PROBES others are in flight."""
    breaker = breakers._by_topic[topic]
    entered = 0
    try:
        for _ in range(PROBES + 1):
            breaker.enter()
            entered += 1
    except ResponderSilent:
        return True
    finally:
        for _ in range(entered):
            # Not with a reply: asking must not change the answer.
            breaker.left(None)
    return False


def test_a_topic_without_replies_is_given_up(breakers, clock):
    time_out(breakers, clock, MIN_ENDED - 1)
    before = is_open(breakers)
    time_out(breakers, clock, 1)

    assert not before
    assert is_open(breakers)


def test_the_other_topics_are_not(breakers, clock):
    time_out(breakers, clock, topic="healthy")

    assert is_open(breakers, "healthy")
    assert not is_open(breakers, "dead")


def test_who_is_turned_away_is_told_so_and_nothing_was_sent(breakers, clock):
    time_out(breakers, clock)
    for _ in range(PROBES):
        breakers._by_topic["dead"].enter()

    with pytest.raises(ResponderSilent, match=r"from topic 'dead' for 4 s") as e:
        exchange(breakers)
    assert e.value.sent is Sent.NO
    assert e.value.status == 503
    assert "Retry-After" in e.value.headers


def test_a_few_probe_it_all_the_time(breakers, clock):
    time_out(breakers, clock)
    breaker = breakers._by_topic["dead"]
    for _ in range(PROBES):
        breaker.enter()
    with pytest.raises(ResponderSilent):
        breaker.enter()
    breaker.left(False)  # a probe that had no reply makes room for the next

    breaker.enter()


def test_the_first_reply_puts_it_back_in_service(breakers, clock):
    time_out(breakers, clock)
    exchange(breakers)

    assert not is_open(breakers)


def test_an_error_from_the_responder_is_a_reply_too(breakers, clock):
    time_out(breakers, clock)
    with pytest.raises(BadReply):
        exchange(breakers, problem=BadReply("status 42"))

    assert not is_open(breakers)


def test_once_back_it_takes_as_much_again_to_be_given_up(breakers, clock):
    time_out(breakers, clock)
    exchange(breakers)
    clock.now_s += TIMEOUT_S + 1
    time_out(breakers, clock, MIN_ENDED - 2)

    assert not is_open(breakers)


def test_a_responder_that_still_replies_is_slow_not_dead(breakers, clock):
    for _ in range(5):
        time_out(breakers, clock, MIN_ENDED // 2)
        assert not is_open(breakers)
        exchange(breakers)


def test_few_timeouts_among_many_replies_are_no_death(breakers, clock):
    for _ in range(3 * MIN_ENDED):
        exchange(breakers)
    clock.now_s += TIMEOUT_S + 1
    time_out(breakers, clock)

    assert not is_open(breakers)


def test_what_was_long_ago_does_not_count(breakers, clock):
    time_out(breakers, clock, MIN_ENDED - 1)
    clock.now_s += WINDOW_S + 1
    time_out(breakers, clock, 1)

    assert not is_open(breakers)


@pytest.mark.parametrize(
    "problem",
    [
        NotSent("refused", sent=Sent.NO),
        BodyTooLarge("too large", sent=Sent.NO),
        ReplyStoreUnavailable("Redis hangs", sent=Sent.YES),
    ],
    ids=lambda problem: problem.kind,
)
def test_what_is_not_the_responders_fault_does_not_count(breakers, clock, problem):
    for _ in range(2 * MIN_ENDED):
        clock.now_s += 0.2
        with pytest.raises(type(problem)):
            exchange(breakers, problem=problem)

    assert not is_open(breakers)


def test_a_request_that_may_have_been_sent_and_had_no_reply_counts(breakers, clock):
    for _ in range(MIN_ENDED):
        clock.now_s += 0.2
        with pytest.raises(NotSent):
            exchange(breakers, problem=NotSent("no acknowledgement", sent=Sent.UNKNOWN))

    assert is_open(breakers)


def test_every_request_leaves_its_place_however_it_ends(breakers):
    for problem in (None, timeout(), RuntimeError("a bug"), BadReply("bad")) * MIN_ENDED:
        with contextlib.suppress(ReplyTimeout, RuntimeError, BadReply):
            exchange(breakers, problem=problem)

    assert breakers._by_topic["dead"]._in_flight == 0


def test_a_process_with_few_places_needs_fewer_endings(clock):
    breakers = Breakers({"dead": TIMEOUT_S}, clock, max_in_flight=5)
    time_out(breakers, clock, 4)
    clock.now_s += TIMEOUT_S
    before = is_open(breakers)
    time_out(breakers, clock, 1)

    assert not before
    assert is_open(breakers)


def hurried_timeout(breakers, topic="dead"):
    with contextlib.suppress(ReplyTimeout), breakers.admit(topic) as passage:
        passage.hurried = True
        raise timeout()


def pending(breakers, topic="dead"):
    with breakers.admit(topic) as passage:
        passage.pending = True


def test_those_who_wait_less_than_usual_say_nothing_of_the_responder(breakers, clock):
    for _ in range(3 * MIN_ENDED):
        clock.now_s += 0.2
        hurried_timeout(breakers)

    assert not is_open(breakers)


@pytest.mark.parametrize("problem", [None, BadReply("bad")])
def test_the_replies_of_those_who_wait_less_than_usual_count_as_any(breakers, clock, problem):
    time_out(breakers, clock)
    with contextlib.suppress(BadReply), breakers.admit("dead") as passage:
        passage.hurried = True
        if problem is not None:
            raise problem

    assert not is_open(breakers)


def test_a_promise_says_nothing_of_the_responder(breakers, clock):
    for _ in range(3 * MIN_ENDED):
        clock.now_s += 0.2
        pending(breakers)
    before = is_open(breakers)
    time_out(breakers, clock)
    pending(breakers)

    assert not before
    assert is_open(breakers)
