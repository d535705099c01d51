"""ReplyPublisher: replies are acknowledged, retried, replaced or discarded."""

import json
import time

import pytest
from kafka import errors as kafka_errors

from rendezvous.contract import Reply
from responder.clock_skew import CLOCK_TOLERANCE_MS
from tests.fakes import FakeFuture, FakeProducer, eventually
from tests.unit.responder.conftest import P1, record


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


@pytest.mark.parametrize("key", [b"same", None], ids=["one key", "several keys"])
def test_no_handler_waits_for_an_acknowledgement(run, key):
    futures = [FakeFuture() for _ in range(3)]
    running = run(producer=FakeProducer(*futures), threads=1)
    running.feed(*[record(f"id-{number}", number, key=key) for number in range(3)])

    # None is acknowledged; those of one key keep their order.
    eventually(lambda: list(running.replies()) == ["id-0", "id-1", "id-2"], within_s=1)
    for future in futures:
        future.succeed()


def test_acknowledgements_in_any_order_commit_no_offset_past_one_that_is_missing(run):
    futures = [FakeFuture() for _ in range(3)]
    running = run(producer=FakeProducer(*futures))
    running.feed(*[record(f"id-{number}", number, key=b"same") for number in range(3)])
    eventually(lambda: len(running.producer.sent) == 3)
    futures[2].succeed()
    futures[0].succeed()
    eventually(lambda: running.committed() == 1)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    before = running.committed()
    futures[1].succeed()
    eventually(lambda: running.committed() == 3)

    assert before == 1


def test_a_request_whose_reply_was_never_acknowledged_is_left_to_a_successor(run):
    running = run(producer=FakeProducer(FakeFuture()))
    running.feed(record("the-id", 3))
    eventually(lambda: running.producer.sent)
    running.end()

    assert running.committed() in (None, 3)


def test_a_reply_that_is_not_accepted_holds_up_no_handler(run, monkeypatch):
    monkeypatch.setattr("responder.publishing.publisher.RETRY_PAUSE_S", 60.0)
    refused = kafka_errors.NotEnoughReplicasError()
    running = run(producer=FakeProducer(FakeFuture().fail(refused)), threads=1)
    running.feed(record("refused", 0, key=b"same"), record("behind", 1, key=b"same"))

    eventually(lambda: list(running.replies()) == ["refused", "behind"], within_s=1)


def test_a_reply_without_acknowledgement_or_failure_is_sent_again(run, monkeypatch, caplog):
    monkeypatch.setattr("responder.publishing.publisher.ACKNOWLEDGE_TIMEOUT_S", 0.05)
    monkeypatch.setattr("responder.publishing.publisher.CHECK_INTERVAL_S", 0.01)
    lost, late = FakeFuture(), FakeFuture()
    running = run(producer=FakeProducer(lost, late))
    running.feed(record("the-id", 0))
    eventually(lambda: len(running.producer.sent) == 2)
    lost.succeed()
    eventually(lambda: running.committed() == 1)
    late.fail(kafka_errors.RequestTimedOutError())  # the first one was acknowledged meanwhile
    running.feed(record("next", 1))
    eventually(lambda: running.committed() == 2)

    assert "not acknowledged within 0.05 s" in caplog.text
    assert [sent.header("correlation-id") for sent in running.producer.sent].count("next") == 1


class MissingTopic(FakeProducer):
    """A producer whose send() to the topic "missing" blocks, as without metadata."""

    attempts = 0

    def send(self, topic, **arguments):
        if topic != "missing":
            return super().send(topic, **arguments)
        self.attempts += 1
        time.sleep(0.05)
        raise kafka_errors.KafkaTimeoutError("no metadata")


def test_a_missing_reply_topic_blocks_replies_to_others_once_per_round(run):
    producer = MissingTopic(FakeFuture().fail(kafka_errors.NotEnoughReplicasError()))
    running = run(producer=producer, threads=20)
    lost = [record(f"lost-{n}", n, reply_topic="missing") for n in range(20)]
    running.feed(*lost)
    eventually(lambda: producer.attempts >= 20)
    started_s = time.monotonic()
    running.feed(record("the-id", 0, partition=1))
    eventually(lambda: running.committed(P1) == 1)

    # Sending all 20 again would have taken a second.
    assert time.monotonic() - started_s < 0.5


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


def test_a_problem_that_is_too_large_as_well_is_sent_again_after_a_pause(run):
    error = kafka_errors.MessageSizeTooLargeError()
    running = run(producer=FakeProducer(error, error))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    assert running.producer.sent[-1].header("status") == "502"


def test_a_reply_is_discarded_when_no_client_can_fetch_it_any_more(run):
    producer = FakeProducer()
    producer.always = kafka_errors.UnknownTopicOrPartitionError()
    running = run(producer=producer)
    running.feed(record("the-id", 0, due_in_ms=-CLOCK_TOLERANCE_MS + 200))

    eventually(lambda: running.committed() == 1, within_s=1)


@pytest.mark.parametrize(("wanted", "partition"), [(2, 2), (3, None), (None, None)])
def test_a_reply_goes_to_the_partition_that_the_request_names_if_it_exists(run, wanted, partition):
    producer = FakeProducer()
    producer.partitions = [0, 1, 2]
    running = run(producer=producer)
    running.feed(record("the-id", 0, key=b"the key", reply_partition=wanted))
    eventually(lambda: running.committed() == 1)

    (sent,) = producer.sent
    # Without a partition the key chooses one.
    assert (sent.partition, sent.key) == (partition, b"the key")


def ended(spans, name="send replies"):
    return [(span.attributes.get("error.type"), len(span.events)) for span in spans
            if span.name == name]  # fmt: skip


def test_a_reply_that_is_sent_again_has_one_span_until_its_acknowledgement(run, traced):
    refused = kafka_errors.NotEnoughReplicasError()
    running = run(producer=FakeProducer(FakeFuture().fail(refused), FakeFuture().fail(refused)))
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    assert ended(traced()) == [(None, 2)]  # two events: retries
    assert ended(traced(), "process orders") == [(None, 0)]


def test_a_reply_that_is_never_acknowledged_has_a_span_that_ends_with_the_process(run, traced):
    running = run(producer=FakeProducer(FakeFuture()))
    running.feed(record("the-id", 0))
    eventually(lambda: running.producer.sent)
    before = ended(traced())
    running.end()

    assert (before, ended(traced())) == ([], [("stopped", 0)])


def test_a_reply_that_is_given_up_has_a_span_that_states_so(run, traced):
    producer = FakeProducer()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    running = run(producer=producer)
    running.feed(record("the-id", 0, due_in_ms=-CLOCK_TOLERANCE_MS + 100))
    eventually(lambda: running.counts.get("unsent") == 1)
    eventually(lambda: running.committed() == 1)

    ((error, retries),) = ended(traced())
    assert error == "unsent"
    assert retries > 0
