"""Circuit breakers: one per topic; they open without replies and close with the first one."""

import contextlib

import pytest

from gateway.exchange.breaker import MIN_FINISHED, PROBES, WINDOW_S, Breakers
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
    return Breakers({"orders": TIMEOUT_S, "other": TIMEOUT_S}, clock)


def exchange(breakers, problem=None, *, topic="orders", is_short_wait=False, is_pending=False):
    with breakers.permit(topic) as permit:
        permit.is_short_wait, permit.is_pending = is_short_wait, is_pending
        if problem is not None:
            raise problem


def timeout():
    return ReplyTimeout("no reply", status=503, correlation_id="id", sent=Sent.YES)


def time_out(breakers, clock, times=MIN_FINISHED, **options):
    for _ in range(times):
        clock.now_s += 4.0 / MIN_FINISHED
        with pytest.raises(ReplyTimeout):
            exchange(breakers, timeout(), **options)


def is_open(breakers, topic="orders"):
    """Return whether a request is rejected while PROBES others are in flight."""
    breaker = breakers._by_topic[topic]
    passed = 0
    try:
        for _ in range(PROBES + 1):
            breaker.acquire()
            passed += 1
    except ResponderSilent:
        return True
    finally:
        for _ in range(passed):
            breaker.release(None)  # without effect on the state
    return False


def test_a_breaker_opens_after_enough_requests_without_a_reply(breakers, clock):
    time_out(breakers, clock, MIN_FINISHED - 1)
    before = is_open(breakers)
    time_out(breakers, clock, 1)

    assert not before
    assert is_open(breakers)


def test_the_breakers_of_other_topics_stay_closed(breakers, clock):
    time_out(breakers, clock, topic="other")

    assert is_open(breakers, "other")
    assert not is_open(breakers, "orders")


def test_a_rejected_request_gets_503_with_retry_after_and_was_not_sent(breakers, clock):
    time_out(breakers, clock)
    for _ in range(PROBES):
        breakers._by_topic["orders"].acquire()

    with pytest.raises(ResponderSilent, match=r"topic 'orders' is open.* for 4 s") as caught:
        exchange(breakers)
    assert caught.value.sent is Sent.NO
    assert caught.value.status == 503
    assert "Retry-After" in caught.value.headers


def test_a_probe_without_a_reply_makes_room_for_the_next_probe(breakers, clock):
    time_out(breakers, clock)
    breaker = breakers._by_topic["orders"]
    for _ in range(PROBES):
        breaker.acquire()
    with pytest.raises(ResponderSilent):
        breaker.acquire()
    breaker.release(False)

    breaker.acquire()


@pytest.mark.parametrize("is_short_wait", [False, True])
@pytest.mark.parametrize("problem", [None, BadReply("status 42")])
def test_the_first_reply_closes_the_breaker(breakers, clock, problem, is_short_wait):
    time_out(breakers, clock)
    with contextlib.suppress(BadReply):
        exchange(breakers, problem, is_short_wait=is_short_wait)

    assert not is_open(breakers)


def test_a_closed_breaker_counts_from_zero(breakers, clock):
    time_out(breakers, clock)
    exchange(breakers)
    clock.now_s += TIMEOUT_S + 1
    time_out(breakers, clock, MIN_FINISHED - 2)

    assert not is_open(breakers)


def test_occasional_replies_keep_the_breaker_closed(breakers, clock):
    for _ in range(5):
        time_out(breakers, clock, MIN_FINISHED // 2)
        assert not is_open(breakers)
        exchange(breakers)


def test_few_timeouts_among_many_replies_keep_the_breaker_closed(breakers, clock):
    for _ in range(3 * MIN_FINISHED):
        exchange(breakers)
    clock.now_s += TIMEOUT_S + 1
    time_out(breakers, clock)

    assert not is_open(breakers)


def test_requests_before_the_window_do_not_count(breakers, clock):
    time_out(breakers, clock, MIN_FINISHED - 1)
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
def test_problems_that_the_responder_did_not_cause_do_not_count(breakers, clock, problem):
    for _ in range(2 * MIN_FINISHED):
        clock.now_s += 0.2
        with pytest.raises(type(problem)):
            exchange(breakers, problem)

    assert not is_open(breakers)


def test_a_request_that_may_have_been_sent_and_got_no_reply_counts(breakers, clock):
    for _ in range(MIN_FINISHED):
        clock.now_s += 0.2
        with pytest.raises(NotSent):
            exchange(breakers, NotSent("no acknowledgement", sent=Sent.UNKNOWN))

    assert is_open(breakers)


def test_no_request_stays_in_flight_after_its_outcome(breakers):
    for problem in (None, timeout(), RuntimeError("a bug"), BadReply("bad")) * MIN_FINISHED:
        with contextlib.suppress(ReplyTimeout, RuntimeError, BadReply):
            exchange(breakers, problem)

    assert breakers._by_topic["orders"]._in_flight == 0


def test_a_process_with_few_slots_opens_the_breaker_after_fewer_requests(clock):
    breakers = Breakers({"orders": TIMEOUT_S}, clock, max_in_flight=5)
    time_out(breakers, clock, 4)
    clock.now_s += TIMEOUT_S
    before = is_open(breakers)
    time_out(breakers, clock, 1)

    assert not before
    assert is_open(breakers)


def test_timeouts_of_clients_that_wait_less_than_the_default_do_not_count(breakers, clock):
    time_out(breakers, clock, 3 * MIN_FINISHED, is_short_wait=True)

    assert not is_open(breakers)


def test_a_pending_reply_neither_opens_nor_closes_the_breaker(breakers, clock):
    for _ in range(3 * MIN_FINISHED):
        clock.now_s += 0.2
        exchange(breakers, is_pending=True)
    before = is_open(breakers)
    time_out(breakers, clock)
    exchange(breakers, is_pending=True)

    assert not before
    assert is_open(breakers)
