"""Requests that wait for a slot: limits and turns of the queue."""

import math
from types import SimpleNamespace

from gateway.server.request_queue import Queued, RequestQueue


def queued(client="", until_s=10.0, size=1):
    return Queued(SimpleNamespace(), client, until_s, size)


def filled(*requests, max_requests=4, max_bytes=100):
    queue = RequestQueue(max_requests, max_bytes)
    for request in requests:
        assert queue.add(request) == []
    return queue


def drained(queue):
    return list(iter(queue.pop, None))


def test_requests_of_one_client_are_taken_in_order():
    first, second = queued(), queued()

    assert drained(filled(first, second)) == [first, second]


def test_clients_take_turns():
    a1, a2, a3, b1 = queued("a"), queued("a"), queued("a"), queued("b")

    assert drained(filled(a1, a2, a3, b1)) == [a1, b1, a2, a3]


def test_a_full_queue_has_no_room_for_one_of_the_same_client():
    queue, newcomer = filled(*(queued() for _ in range(4))), queued()

    assert queue.add(newcomer) == [newcomer]
    assert len(queue) == 4


def test_in_a_full_queue_the_client_with_most_makes_room_for_others():
    greedy = [queued("greedy") for _ in range(4)]
    queue = filled(*greedy)
    modest = [queued("modest") for _ in range(2)]

    assert queue.add(modest[0]) == [greedy[3]]
    assert queue.add(modest[1]) == [greedy[2]]
    late = queued("modest")
    assert queue.add(late) == [late]
    assert drained(queue) == [greedy[0], modest[0], greedy[1], modest[1]]


def test_the_bytes_of_all_waiting_requests_have_a_limit():
    queue = filled(queued(size=60))
    large = queued(size=50)

    assert queue.add(large) == [large]
    assert queue.add(queued(size=40)) == []
    queue.pop()
    assert queue.add(queued(size=60)) == []


def test_a_queue_of_length_0_takes_none():
    newcomer = queued()

    assert RequestQueue(0, 100).add(newcomer) == [newcomer]


def test_overdue_requests_are_taken_out_and_the_next_time_is_known():
    early, late = queued(until_s=5.0), queued("other", until_s=7.0)
    queue = filled(late, early)

    assert queue.next_due_s == 5.0
    assert queue.pop_overdue(4.9) == []
    assert queue.pop_overdue(5.0) == [early]
    assert queue.next_due_s == 7.0
    assert queue.pop_overdue(8.0) == [late]
    assert queue.next_due_s == math.inf
    assert queue.pop() is None
