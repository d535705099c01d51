"""ReplyPublisher: replies are acknowledged, retried, replaced or discarded."""

import json

import pytest
from kafka import errors as kafka_errors

from rendezvous.contract import Reply
from responder.clock_skew import CLOCK_TOLERANCE_MS
from tests.fakes import FakeFuture, FakeProducer, eventually
from tests.unit.responder.conftest import record


def test_no_offset_is_committed_before_the_reply_is_acknowledged(run):
    future = FakeFuture()
    running = run(producer=FakeProducer(future))
    running.feed(record("the-id", 0))
    eventually(lambda: running.producer.sent)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    before = running.committed()
    future.succeed()
    eventually(lambda: running.committed() == 1)

    assert before in (None, 0)


@pytest.mark.parametrize(
    "failure",
    [
        kafka_errors.KafkaTimeoutError("no metadata"),
        FakeFuture().fail(kafka_errors.RequestTimedOutError()),
        FakeFuture().fail(kafka_errors.NotEnoughReplicasError()),
    ],
)
def test_a_reply_that_is_not_accepted_is_sent_again(run, failure, caplog):
    running = run(producer=FakeProducer(failure, failure))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    assert "reply not accepted by topic replies" in caplog.text
    assert running.producer.sent[-1].header("correlation-id") == "the-id"
    assert running.counts == {"answered": 1}  # the handler ran once


def test_no_offset_is_committed_while_a_reply_is_not_accepted(run):
    producer = FakeProducer()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    running = run(producer=producer)
    running.feed(record("the-id", 0))
    eventually(lambda: running.counts["answered"] == 1)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 10)
    before = running.committed()
    producer.always = None
    eventually(lambda: running.committed() == 1)

    assert before in (None, 0)


def test_a_reply_not_accepted_until_the_stop_is_left_to_a_successor(run):
    producer = FakeProducer()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    running = run(producer=producer)
    running.feed(record("the-id", 3))
    eventually(lambda: running.counts["answered"] == 1)
    running.end()

    assert running.committed() in (None, 3)
    assert running.kafka.closed


@pytest.mark.parametrize(
    "error", [kafka_errors.MessageSizeTooLargeError(), kafka_errors.RecordListTooLargeError()]
)
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_reply_that_is_too_large_becomes_a_502(run, error, when):
    failure = error if when == "at once" else FakeFuture().fail(error)
    running = run(lambda request: Reply.to(request, b"x" * 1_000), FakeProducer(failure))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    sent = running.producer.sent[-1]
    assert sent.header("status") == "502"
    assert "1000 bytes" in json.loads(sent.value)["detail"]


def test_a_reply_is_discarded_when_no_client_can_fetch_it_any_more(run):
    producer = FakeProducer()
    producer.always = kafka_errors.UnknownTopicOrPartitionError()
    running = run(producer=producer)
    running.feed(record("the-id", 0, due_in_ms=-CLOCK_TOLERANCE_MS + 200))

    eventually(lambda: running.committed() == 1, within_s=1)
