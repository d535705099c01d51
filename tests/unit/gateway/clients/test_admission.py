"""In-flight limits: slots of a process and shares of its clients."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gateway.clients.admission import Admission
from gateway.clients.client import Client
from gateway.problems import Overloaded, Sent, TooManyInFlight


def test_requests_above_the_in_flight_limit_are_rejected():
    admission = Admission(2)

    with (
        admission.admit(),
        admission.admit(),
        pytest.raises(Overloaded, match="2 requests are in flight") as caught,
        admission.admit(),
    ):
        pass

    assert caught.value.sent is Sent.NO


@pytest.mark.parametrize("error", [None, KeyError()])
def test_a_slot_is_released_whether_the_request_succeeds_or_raises(error):
    admission = Admission(1)

    for _ in range(3):
        try:
            with admission.admit():
                if error is not None:
                    raise error
        except KeyError:
            pass


def test_a_rejected_request_takes_no_slot():
    admission = Admission(1)
    with admission.admit():
        for _ in range(3):
            with pytest.raises(Overloaded), admission.admit():
                pass

    with admission.admit():
        pass


HALF = Client("half", in_flight_share=0.5)


def test_a_client_above_its_share_is_rejected_and_others_are_admitted():
    admission = Admission(4)

    with admission.admit(HALF), admission.admit(HALF):
        with pytest.raises(TooManyInFlight, match="2 of your requests") as caught:
            admission.admit(HALF).__enter__()
        with admission.admit(Client("other")), admission.admit():
            pass

    assert caught.value.sent is Sent.NO
    assert caught.value.status == 429
    with admission.admit(HALF), admission.admit(HALF):
        pass


def test_a_client_has_at_least_one_slot():
    with Admission(4).admit(Client("small", in_flight_share=0.01)):
        pass


def test_a_client_whose_share_is_all_slots_is_rejected_as_overload():
    admission = Admission(1)

    with admission.admit(Client("whole")), pytest.raises(Overloaded):
        admission.admit(Client("whole")).__enter__()


def test_a_client_within_its_share_is_rejected_as_overload_when_no_slot_is_free():
    admission = Admission(2)

    with admission.admit(), admission.admit(), pytest.raises(Overloaded):
        admission.admit(HALF).__enter__()


def test_concurrent_requests_never_exceed_the_limits():
    admission = Admission(8)
    most: Counter[str] = Counter()
    current: Counter[str] = Counter()
    lock = threading.Lock()

    def send(client):
        for _ in range(300):
            try:
                with admission.admit(client):
                    with lock:
                        current[client.name] += 1
                        most[client.name] = max(most[client.name], current[client.name])
                        most["all"] = max(most["all"], current.total())
                    time.sleep(0)
                    with lock:
                        current[client.name] -= 1
            except (Overloaded, TooManyInFlight):
                pass

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(send, [HALF, Client("other")] * 6))

    assert most["half"] <= 4
    assert most["all"] <= 8
    with ExitStack() as slots:
        for _ in range(8):
            slots.enter_context(admission.admit())
