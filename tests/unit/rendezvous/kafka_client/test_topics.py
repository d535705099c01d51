"""Looking up topics."""

import pytest
from kafka import errors as kafka_errors

from rendezvous.kafka_client.topics import Topic, TopicLookup
from tests.fakes import FakeAdmin


def lookup(*admins, problem=None):
    """Return a lookup whose clients are *admins*, one after the other."""
    waiting = list(admins)

    def new_admin(**options):
        found = waiting.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    return TopicLookup({"bootstrap_servers": ["b:1"]}, lambda: problem, new_admin)


def test_existing_missing_and_hidden_topics_are_distinguished():
    topics = lookup(FakeAdmin(["orders"], denied=["secret"]))

    assert topics.look_up(["orders", "others", "secret"]) == {
        "orders": Topic(partitions=0),
        "others": Topic(),
        "secret": Topic(is_hidden=True),
    }


def test_no_client_is_built_while_no_broker_can_be_reached():
    with pytest.raises(ConnectionError, match="b:1: no answer"):
        lookup(problem="b:1: no answer").look_up(["orders"])


def test_brokers_that_do_not_answer_are_a_connection_error():
    with pytest.raises(ConnectionError, match=r"is it a TLS port \(then use kafka\+ssl://\)"):
        lookup(kafka_errors.KafkaTimeoutError("Unable to bootstrap")).look_up(["orders"])


def test_after_an_error_a_new_client_is_built():
    failing = FakeAdmin([], kafka_errors.KafkaTimeoutError("asleep"))
    topics = lookup(failing, FakeAdmin(["orders"]))

    with pytest.raises(ConnectionError, match="asleep"):
        topics.look_up(["orders"])
    assert failing.closed
    assert topics.look_up(["orders"]) == {"orders": Topic(partitions=0)}


def test_closing_closes_the_client():
    admin = FakeAdmin(["orders"])
    topics = lookup(admin)
    topics.look_up(["orders"])
    topics.close()
    topics.close()

    assert admin.closed
