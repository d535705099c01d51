"""Circuit breakers: they open without replies and close with the first one."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.breaker import circuit
from gateway.exchange.breaker.circuit import WINDOW_S
from gateway.exchange.breaker.probes import PROBES, TURN_S
from gateway.exchange.breaker.topic_breaker import MIN_FINISHED, Breakers
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


def exchange(
    breakers, problem=None, *, topic="orders", client="", is_short_wait=False, is_pending=False
):
    with breakers.permit(topic, client) as permit:
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


def is_open(breakers, topic="orders", client=""):
    """Return whether a request is rejected while PROBES others are in flight."""
    breaker = breakers._by_topic[topic]
    passages = []
    try:
        for _ in range(PROBES + 1):
            passages.append(breaker.acquire(client))
    except ResponderSilent:
        return True
    finally:
        for passage in passages:
            breaker.release(passage, None)  # without effect on the state
    return False


def in_flight(breakers, client="", *, times=PROBES):
    breaker = breakers._by_topic["orders"]
    return [breaker.acquire(client) for _ in range(times)]


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
    in_flight(breakers)

    with pytest.raises(ResponderSilent, match=r"topic 'orders' is open.* for 4 s") as caught:
        exchange(breakers)
    assert caught.value.sent is Sent.NO
    assert caught.value.status == 503
    assert "Retry-After" in caught.value.headers


def test_a_probe_without_a_reply_makes_room_for_the_next_probe(breakers, clock):
    time_out(breakers, clock)
    probes = in_flight(breakers)
    with pytest.raises(ResponderSilent):
        in_flight(breakers, times=1)
    breakers._by_topic["orders"].release(probes[0], False)

    in_flight(breakers, times=1)


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


def test_nothing_is_remembered_of_requests_before_the_window(breakers, clock):
    for problem in (None, timeout(), RuntimeError("a bug"), BadReply("bad")) * MIN_FINISHED:
        for client in ("", "shop", f"client-{clock.now_s}"):
            with contextlib.suppress(ReplyTimeout, RuntimeError, BadReply):
                exchange(breakers, problem, client=client)
        clock.now_s += 0.01
    clock.now_s += WINDOW_S + 1
    exchange(breakers, client="last")

    assert list(breakers._by_topic["orders"]._circuits._by_name) == ["last"]


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


def test_requests_of_one_client_open_the_breaker_for_that_client_alone(breakers, clock):
    time_out(breakers, clock, 3 * MIN_FINISHED, client="slow")

    assert is_open(breakers, client="slow")
    assert not is_open(breakers, client="other")
    assert not is_open(breakers, client="")


def test_a_client_with_timeouts_of_its_own_is_not_rejected_for_those_of_another(breakers, clock):
    for _ in range(MIN_FINISHED // 2 - 1):
        time_out(breakers, clock, 4, client="slow")
        time_out(breakers, clock, 1, client="other")

    assert is_open(breakers, client="slow")
    assert not is_open(breakers, client="other")


def test_replies_to_one_client_do_not_close_the_breaker_for_another(breakers, clock):
    time_out(breakers, clock, client="slow")
    exchange(breakers, client="other")

    assert is_open(breakers, client="slow")
    exchange(breakers, client="slow")
    assert not is_open(breakers, client="slow")


@pytest.mark.parametrize("clients", [2, 3, MIN_FINISHED])
def test_requests_of_several_clients_open_the_breaker_for_every_client(breakers, clock, clients):
    for number in range(MIN_FINISHED):
        time_out(breakers, clock, 1, client=f"client-{number % clients}")

    assert is_open(breakers, client="client-0")
    assert is_open(breakers, client="new")


def test_the_first_reply_closes_a_breaker_that_is_open_for_every_client(breakers, clock):
    for client in ("a", "b", "c") * MIN_FINISHED:
        time_out(breakers, clock, 1, client=client)
    before = [is_open(breakers, client=client) for client in "abcd"]
    exchange(breakers, client="d")

    assert before == [True] * 4
    assert not any(is_open(breakers, client=client) for client in "abcd")


def test_a_rejected_client_gets_the_next_probe_before_the_one_that_had_the_last(breakers, clock):
    for client in ("busy", "rare") * MIN_FINISHED:
        time_out(breakers, clock, 1, client=client)
    clock.now_s += 1
    probes = in_flight(breakers, "busy")
    with pytest.raises(ResponderSilent):
        in_flight(breakers, "rare", times=1)
    for probe in probes:
        clock.now_s += 1
        breakers._by_topic["orders"].release(probe, False)
        with pytest.raises(ResponderSilent):
            in_flight(breakers, "busy", times=1)

    in_flight(breakers, "rare", times=1)
    in_flight(breakers, "busy", times=1)


def test_a_probe_is_reserved_for_a_limited_time(breakers, clock):
    for client in ("busy", "rare") * MIN_FINISHED:
        time_out(breakers, clock, 1, client=client)
    clock.now_s += 1
    probe, *_ = in_flight(breakers, "busy")
    with pytest.raises(ResponderSilent):
        in_flight(breakers, "rare", times=1)
    breakers._by_topic["orders"].release(probe, False)
    clock.now_s += TURN_S + 0.1

    in_flight(breakers, "busy", times=1)


def test_the_breaker_forgets_the_oldest_of_too_many_clients_for_which_it_is_open(
    breakers, clock, monkeypatch
):
    monkeypatch.setattr(circuit, "MAX_OPEN_CLIENTS", 3)
    for number in range(6):
        time_out(breakers, clock, client=f"client-{number}")
        clock.now_s += WINDOW_S + 1
        exchange(breakers, client="other")

    still_open = [is_open(breakers, client=f"client-{number}") for number in range(6)]
    assert still_open == [False, False, True, True, True, True]


def test_the_message_says_that_the_breaker_is_open_for_the_client_alone(breakers, clock):
    time_out(breakers, clock, client="slow")
    in_flight(breakers, "slow")

    with pytest.raises(ResponderSilent, match="is open for your requests, since no reply has come"):
        exchange(breakers, client="slow")


steps = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([True, False, False, None]),
    st.sampled_from([0.0, 0.1, 2.0, WINDOW_S]),
    st.integers(1, 9),
)


@given(st.lists(steps, max_size=60))
def test_the_counts_of_all_clients_are_those_of_each_together(steps):
    clock = FakeClock(1_000.0)
    breaker = Breakers({"orders": TIMEOUT_S}, clock, max_in_flight=4)._by_topic["orders"]
    in_flight = []
    for client, replied, pause_s, number in steps:
        with contextlib.suppress(ResponderSilent):
            for _ in range(number):
                in_flight.append(breaker.acquire(client))
        clock.now_s += pause_s
        for passage in in_flight[:number]:
            breaker.release(passage, replied)
        del in_flight[:number]

        circuits = breaker._circuits
        clients = circuits._by_name.values()
        assert circuits.all.finished == sum(c.finished for c in clients) == len(circuits._finished)
        assert circuits.all.silent == sum(c.silent for c in clients)
        assert breaker._probes._in_flight == sum(passage.is_probe for passage in in_flight)
    for passage in in_flight:
        breaker.release(passage, None)
    assert not any(c.in_flight for c in breaker._circuits._by_name.values())
