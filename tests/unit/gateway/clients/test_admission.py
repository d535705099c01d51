"""Who is let in."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gateway.clients.admission import Admission
from gateway.clients.client import Client
from gateway.problems import Overloaded, Sent, TooManyInFlight


def test_as_many_as_there_are_places_are_let_in_and_no_more():
    admission = Admission(2)

    with (
        admission.admit(),
        admission.admit(),
        pytest.raises(Overloaded, match="2 requests are in flight") as caught,
        admission.admit(),
    ):
        pass

    assert caught.value.sent is Sent.NO


@pytest.mark.parametrize("ending", [None, KeyError()])
def test_a_place_is_free_again_however_the_request_ends(ending):
    admission = Admission(1)

    for _ in range(3):
        try:
            with admission.admit():
                if ending is not None:
                    raise ending
        except KeyError:
            pass


def test_being_turned_away_takes_no_place():
    admission = Admission(1)
    with admission.admit():
        for _ in range(3):
            with pytest.raises(Overloaded), admission.admit():
                pass

    with admission.admit():
        pass


HALF = Client("half", in_flight_share=0.5)


def test_a_client_takes_its_share_of_the_places_and_no_more():
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


def test_a_client_has_one_place_however_small_its_share():
    with Admission(4).admit(Client("small", in_flight_share=0.01)):
        pass


def test_a_client_with_all_places_overloads_the_gateway_as_anybody_does():
    admission = Admission(1)

    with admission.admit(Client("whole")), pytest.raises(Overloaded):
        admission.admit(Client("whole")).__enter__()


def test_where_others_have_the_places_a_client_within_its_share_is_told_so():
    admission = Admission(2)

    with admission.admit(), admission.admit(), pytest.raises(Overloaded):
        admission.admit(HALF).__enter__()


def test_of_many_threads_none_gets_a_place_too_many():
    admission = Admission(8)
    most: Counter[str] = Counter()
    now: Counter[str] = Counter()
    lock = threading.Lock()

    def come(client):
        for _ in range(300):
            try:
                with admission.admit(client):
                    with lock:
                        now[client.name] += 1
                        most[client.name] = max(most[client.name], now[client.name])
                        most["all"] = max(most["all"], now.total())
                    time.sleep(0)
                    with lock:
                        now[client.name] -= 1
            except (Overloaded, TooManyInFlight):
                pass

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(come, [HALF, Client("other")] * 6))

    assert most["half"] <= 4
    assert most["all"] <= 8
    with ExitStack() as places:
        for _ in range(8):
            places.enter_context(admission.admit())
