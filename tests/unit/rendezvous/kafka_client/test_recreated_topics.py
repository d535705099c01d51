"""Topics that were deleted and made anew."""

from uuid import UUID

import pytest

from rendezvous.kafka_client.recreated_topics import LOOK_PAUSE_S, RecreatedTopics

OLD, NEW, NONE = UUID(int=1), UUID(int=2), UUID(int=0)


@pytest.fixture
def identities():
    return {"replies": OLD, "others": OLD}


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def renewals(identities, now):
    return RecreatedTopics(identities.get, lambda: now[0])


def test_a_topic_that_stays_is_not_renewed(renewals):
    assert [renewals.look(["replies", "others"]) for _ in range(3)] == [set()] * 3


def test_a_topic_that_was_made_anew_is_told_once(renewals, identities):
    renewals.look(["replies", "others"])
    identities["replies"] = NEW

    assert renewals.look(["replies", "others"]) == {"replies"}
    assert renewals.look(["replies", "others"]) == set()


@pytest.mark.parametrize("gone", [None, NONE])
def test_a_topic_is_remembered_while_it_is_missing(renewals, identities, gone):
    renewals.look(["replies"])
    identities["replies"] = gone
    missing = renewals.look(["replies"])
    identities["replies"] = OLD
    again = renewals.look(["replies"])
    identities["replies"] = NEW

    assert (missing, again, renewals.look(["replies"])) == (set(), set(), {"replies"})


def test_it_is_time_to_look_now_and_then(renewals, now):
    assert not renewals.is_due()
    now[0] += LOOK_PAUSE_S
    assert renewals.is_due()
    renewals.look([])
    assert not renewals.is_due()
