"""Who is let in."""

import pytest

from gateway.admission import Admission
from gateway.errors import Overloaded, Sent


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
