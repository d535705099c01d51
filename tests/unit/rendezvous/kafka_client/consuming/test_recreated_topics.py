"""Topics that were deleted and created again."""

from uuid import UUID

import pytest

from rendezvous.kafka_client.consuming.recreated_topics import CHECK_INTERVAL_S, RecreatedTopics
from tests.fakes import FakeClock

OLD, NEW, ZERO = UUID(int=1), UUID(int=2), UUID(int=0)


@pytest.fixture
def ids():
    return {"replies": OLD, "others": OLD}


@pytest.fixture
def clock():
    return FakeClock(100.0)


@pytest.fixture
def recreated(ids, clock):
    return RecreatedTopics(ids.get, clock)


def test_a_topic_that_keeps_its_id_was_not_recreated(recreated):
    assert [recreated.find(["replies", "others"]) for _ in range(3)] == [set()] * 3


def test_a_topic_with_a_new_id_is_found_once(recreated, ids):
    recreated.find(["replies", "others"])
    ids["replies"] = NEW

    assert recreated.find(["replies", "others"]) == {"replies"}
    assert recreated.find(["replies", "others"]) == set()


@pytest.mark.parametrize("missing", [None, ZERO])
def test_the_id_of_a_topic_is_remembered_while_it_is_missing(recreated, ids, missing):
    recreated.find(["replies"])
    found = []
    for ids["replies"] in (missing, OLD, NEW):
        found.append(recreated.find(["replies"]))

    assert found == [set(), set(), {"replies"}]


def test_a_check_is_due_after_each_interval(recreated, clock):
    due = [recreated.is_due()]
    clock.now_s += CHECK_INTERVAL_S
    due.append(recreated.is_due())
    recreated.find([])
    due.append(recreated.is_due())

    assert due == [False, True, False]
