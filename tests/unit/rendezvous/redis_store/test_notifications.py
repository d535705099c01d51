"""Which stored replies a gateway process is notified of, and what is used of redis-py for that."""

import pytest
from redis import exceptions as redis_errors
from redis.connection import Connection

from rendezvous.contract import Reply
from rendezvous.correlation import epoch_ms
from rendezvous.redis_store import notifications
from rendezvous.redis_store.notifications import MAX_NOTIFIED, Notifier

NODES = ("0a1b2c3d", "ffffffff")


@pytest.fixture
def notified(redis):
    """Return the nodes notified since the last call."""
    subscription = redis.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(*(f"replied:{node}" for node in NODES))
    for _ in NODES:
        subscription.get_message(timeout=1)

    def nodes():
        found = []
        while (message := subscription.get_message()) is not None:
            found.append(message["channel"].decode().removeprefix("replied:"))
        return found

    yield nodes
    subscription.close()


@pytest.fixture
def replies(ids):
    def issue(node, count=1, *, due_in_ms=3_000):
        cids = [ids.read(ids.issue(node, epoch_ms() + due_in_ms)) for _ in range(count)]
        return [(cid, Reply(cid.text)) for cid in cids]

    return issue


def test_each_node_with_a_stored_reply_is_notified_once(store, replies, notified):
    store.put_many(replies(NODES[0], 2) + replies(NODES[1]))

    assert notified() == list(NODES)


def test_an_expired_reply_causes_no_notification(store, replies, notified):
    store.put_many(replies(NODES[0]) + replies(NODES[1], due_in_ms=-61_000))

    assert notified() == [NODES[0]]


def test_expired_replies_do_not_count_against_the_limit(store, replies, notified):
    store.put_many(replies(NODES[0], MAX_NOTIFIED) + replies(NODES[1], 1, due_in_ms=-61_000))

    assert notified() == [NODES[0]]


def test_more_replies_than_the_limit_cause_no_notification(store, replies, notified):
    store.put_many(replies(NODES[0], MAX_NOTIFIED + 1))

    assert notified() == []


def test_after_a_refusal_notifications_pause_and_are_logged_once(redis, monkeypatch, caplog):
    caplog.set_level("INFO")
    notifier, pipeline = Notifier(), redis.pipeline()
    refused = redis_errors.NoPermissionError("NOPERM")

    notifier.note([1, refused, refused])
    assert notifier.add_to(pipeline, NODES) == len(pipeline) == 0
    assert caplog.text.count("gateways notice replies later without notifications") == 1

    monkeypatch.setattr(notifications, "REFUSED_PAUSE_S", 0.0)
    notifier.note([refused])
    assert notifier.add_to(pipeline, NODES) == len(pipeline) == 2


def test_the_private_name_of_redis_py_that_notifications_use_exists():
    """Notifications poll the socket of a connection, which redis-py offers under no public name."""
    assert Connection()._sock is None
