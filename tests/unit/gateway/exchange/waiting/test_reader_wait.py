"""The reader of a partition: requests that need it wait until it reads."""

import threading
from types import SimpleNamespace

import pytest

from gateway.exchange.pending_request import WaitOptions
from gateway.exchange.requester import Requester
from gateway.exchange.waiting.partition_reader import PartitionReader
from gateway.exchange.waiting.poller import NoStoredReplies
from gateway.exchange.waiting.straight_replies import StraightReplies
from gateway.problems import ReplyStoreUnavailable
from rendezvous.process.watchdog import Watchdog

PARTITIONS = 4
LIMIT_S = 5.0


class FakeConsumer:
    """Reads a partition in which nothing comes."""

    partition = 1

    def partitions(self):
        return PARTITIONS

    def is_reading(self):
        return True

    def poll(self):
        threading.Event().wait(0.01)
        return {}

    def close(self):
        pass


@pytest.fixture
def opened():
    return threading.Event()


@pytest.fixture
def reader(ids, mailbox, opened):
    """A reader that begins when *opened* is set."""

    def open_consumer(choose):
        opened.wait(LIMIT_S)
        return FakeConsumer()

    replies = StraightReplies(mailbox, None, ids, max_reply_bytes=100)
    spread = SimpleNamespace(node=lambda: "node", choose=lambda partitions: 1)
    reader = PartitionReader(open_consumer, replies, spread, Watchdog("test", 60))
    reader.start()
    yield reader
    opened.set()
    reader.close()


@pytest.fixture
def requester(ids, mailbox, publisher, reader):
    return Requester(ids, mailbox, NoStoredReplies(), publisher, addresses=reader)


def test_it_is_not_ready_before_it_reads(reader, opened):
    assert not reader.await_ready(0.01)
    opened.set()
    assert reader.await_ready(LIMIT_S)


def test_without_redis_a_request_waits_until_the_replies_are_read(requester, opened):
    threading.Timer(0.1, opened.set).start()

    assert requester.issue_id(WaitOptions(wait_s=2 * LIMIT_S, deadline_s=2 * LIMIT_S))


def test_without_redis_a_request_waits_for_a_part_of_its_time_only(requester):
    with pytest.raises(ReplyStoreUnavailable, match="does not read its replies yet"):
        requester.issue_id(WaitOptions(wait_s=0.2, deadline_s=0.2))
