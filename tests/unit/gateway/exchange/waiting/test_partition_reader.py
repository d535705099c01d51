"""PartitionReader: reads one partition, follows its topic, and comes back after failures."""

import time

import pytest

from gateway.exchange.waiting.partition_reader import GATHER_MIN_REPLIES, PartitionReader
from rendezvous.kafka_client.partitioning import murmur2_partition
from tests.fakes import FakeRecord, eventually

NODE = "0a1b2c3d"


class FakePartition:
    """A PartitionConsumer whose records and partitions are the test's."""

    def __init__(self, partition=1, partitions=4):
        self.partition = partition
        self.count = partitions
        self.is_read = True
        self.batches: list[object] = []
        self.closed = False

    def partitions(self):
        return self.count

    def is_reading(self):
        return self.is_read

    def poll(self):
        if not self.batches:
            time.sleep(0.001)
            return {}
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        return {"a partition": batch}

    def close(self):
        self.closed = True


class FakeReplies:
    """StraightReplies that only notes."""

    def __init__(self):
        self.is_read = False
        self.settled: list[object] = []
        self.logs = 0

    def settle(self, records):
        self.settled += records

    def log(self):
        self.logs += 1


class FakeSpread:
    def __init__(self):
        self.asked: list[int] = []

    def node(self):
        return NODE

    def choose(self, partitions):
        self.asked.append(partitions)
        return partitions - 1


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr("gateway.exchange.waiting.partition_reader.OPEN_PAUSE_S", 0.005)
    monkeypatch.setattr("gateway.exchange.waiting.partition_reader.CHECK_INTERVAL_S", 0.0)


@pytest.fixture
def replies():
    return FakeReplies()


@pytest.fixture
def opened():
    """What open_consumer() returns or raises next; the last one again and again."""
    return [FakePartition()]


@pytest.fixture
def reader(opened, replies):
    def open_consumer(choose):
        choose(4)
        found = opened.pop(0) if len(opened) > 1 else opened[0]
        if isinstance(found, Exception):
            raise found
        return found

    reader = PartitionReader(open_consumer, replies, FakeSpread())
    yield reader
    reader.close()


def started(reader):
    reader.start()
    eventually(lambda: reader.await_ready(0))
    return reader


def test_before_its_start_there_is_no_address_and_a_problem(reader, replies):
    assert reader.take() is None
    assert reader.reads() is None
    assert not reader.await_ready(0)
    assert "not read yet" in reader.problem()
    assert not replies.is_read


def test_the_records_of_the_partition_are_passed_on(reader, opened, replies):
    record = FakeRecord(b"x", [])
    opened[0].batches.append([record])
    started(reader)

    eventually(lambda: replies.settled == [record])
    assert replies.is_read
    assert reader.problem() is None
    assert reader.reads() == (1, 4)


def test_the_partition_is_that_of_the_spread(reader):
    started(reader)

    assert reader._spread.asked == [4]


def test_an_address_names_the_partition_and_has_a_key_that_leads_there(reader):
    started(reader)
    one, other = reader.take(), reader.take()
    one.give_back()

    assert one.partition == other.partition == 1
    assert one.key != other.key
    assert {murmur2_partition(address.key, 4) for address in (one, other)} == {1}
    assert one.key.startswith(NODE.encode())
    assert reader.take().key == one.key


@pytest.mark.parametrize("error", [ConnectionError("no broker"), LookupError("replies")])
def test_a_consumer_that_cannot_be_opened_is_a_problem_until_it_can(reader, opened, replies, error):
    opened[:] = [error]
    reader.start()
    eventually(lambda: reader.problem() == f"the replies to this gateway are not read: {error}")
    opened[:] = [FakePartition()]

    eventually(lambda: reader.await_ready(0))
    assert replies.is_read


def test_while_the_partition_cannot_be_read_replies_are_not_expected_straight(
    reader, opened, replies
):
    started(reader)
    opened[0].is_read = False
    eventually(lambda: not reader.await_ready(0))
    assert not replies.is_read
    assert reader.problem() == "partition 1 of the reply topic cannot be read; see the log"
    # Addresses are given nevertheless: the replies may come straight again in time.
    assert reader.take() is not None
    opened[0].is_read = True

    eventually(lambda: reader.await_ready(0) and replies.is_read)


def test_after_new_partitions_the_keys_fit_the_old_and_the_new_number(reader, opened):
    started(reader)
    opened[0].count = 6
    eventually(lambda: reader.reads() == (1, 6))
    keys = [reader.take().key for _ in range(10)]

    assert {murmur2_partition(key, 6) for key in keys} == {1}
    assert {murmur2_partition(key, 4) for key in keys} == {1}
    assert not opened[0].closed


def test_keys_for_numbers_with_too_large_a_common_multiple_fit_the_new_one(reader, opened):
    opened[0].count = 499
    started(reader)
    opened[0].count = 500
    eventually(lambda: reader.reads() == (1, 500))

    assert reader._keys._counts == [500]  # else each key would take seconds
    assert {murmur2_partition(reader.take().key, 500) for _ in range(5)} == {1}


def test_a_key_of_before_a_change_is_not_used_again(reader, opened):
    started(reader)
    address = reader.take()
    opened[0].count = 6
    eventually(lambda: reader.reads() == (1, 6))
    address.give_back()

    assert address.key not in {reader.take().key for _ in range(5)}


def test_a_partition_that_vanishes_is_replaced_by_another(reader, opened, replies, caplog):
    first, second = FakePartition(3, 4), FakePartition(0, 2)
    opened[:] = [first, second]
    started(reader)
    first.count = 2
    eventually(lambda: reader.reads() == (0, 2))

    assert first.closed
    assert replies.is_read
    assert "the reply topic has no partition 3 any more" in caplog.text


def test_an_unknown_number_of_partitions_changes_nothing(reader, opened):
    started(reader)
    opened[0].count = 0
    keys = reader._keys
    time.sleep(0.02)

    assert reader.reads() == (1, 4)
    assert reader._keys is keys


def test_an_unexpected_error_does_not_end_the_reading(reader, opened, replies, caplog):
    first, second = FakePartition(), FakePartition()
    first.batches.append(RuntimeError("a bug"))
    record = FakeRecord(b"x", [])
    second.batches.append([record])
    opened[:] = [first, second]
    reader.start()

    eventually(lambda: replies.settled == [record])
    assert first.closed
    assert "reading replies failed; opening the consumer again" in caplog.text


def test_closing_ends_the_thread_closes_the_consumer_and_logs_the_counts(reader, opened, replies):
    started(reader)
    reader.close()

    assert reader.take() is None
    assert opened[0].closed
    assert replies.logs == 1
    assert not replies.is_read
    assert not reader._thread.is_alive()
    assert "not read any more" in reader.problem()


@pytest.mark.parametrize(
    ("count", "is_delayed"), [(GATHER_MIN_REPLIES - 1, False), (GATHER_MIN_REPLIES, True)]
)
def test_the_next_poll_is_delayed_after_a_batch_of_several_replies(
    reader, monkeypatch, count, is_delayed
):
    delays: list[float] = []
    monkeypatch.setattr("gateway.exchange.waiting.partition_reader.time.sleep", delays.append)
    reader._settle({"one": [FakeRecord(b"x", [])], "other": [FakeRecord(b"x", [])] * (count - 1)})

    assert bool(delays) is is_delayed


def test_each_turn_of_the_loop_resets_the_watchdog(reader):
    started(reader)
    reader._watchdog._was_reset = False

    eventually(lambda: reader._watchdog._was_reset)
