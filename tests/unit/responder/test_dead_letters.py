"""Dead letters: what becomes of records that are no request or whose handler failed."""

import time
from dataclasses import replace

import pytest
from kafka import errors as kafka_errors

from rendezvous.contract import RESERVED_HEADERS, Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.framework_replies import DEAD_LETTER_HEADERS
from rendezvous.kafka_client.patches.bounded_batches import DroppedValue
from responder.publishing.failure import Failure, Reason
from responder.registry import HandlerError
from tests.fakes import FakeFuture, FakeProducer, FakeRecord, Panic, eventually, raising
from tests.unit.responder.conftest import P0, P1, record

DLQ = "dead"


class ToDlq(FakeProducer):
    """A producer whose *outcomes* are those of sends to the dead-letter topic."""

    def send(self, topic, **arguments):
        if topic == DLQ:
            return super().send(topic, **arguments)
        outcomes, self.outcomes = self.outcomes, type(self.outcomes)()
        always, self.always = self.always, None
        try:
            return super().send(topic, **arguments)
        finally:
            self.outcomes, self.always = outcomes, always


def test_a_malformed_record_is_dead_lettered_as_it_was(run):
    running = run(dlq_topic=DLQ)
    headers = [("correlation-id", b"an id"), ("x", b"\xff"), ("null", None)]
    running.feed(FakeRecord(b"\x00value", headers, 7, b"key", "orders", 1, timestamp=1234))
    eventually(lambda: running.committed(P1) == 8)

    (letter,) = running.dead_letters()
    assert (letter.topic, letter.key, letter.value) == (DLQ, b"key", b"\x00value")
    assert letter.partition is None  # by key, so that the order of a key is kept
    assert letter.headers[:3] == [*headers[:2], ("null", b"")]
    added = {name: value.decode() for name, value in letter.headers[3:]}
    assert epoch_ms() - int(added.pop("dead-letter-time")) < 10_000
    assert added == {
        "dead-letter-reason": "malformed",
        "dead-letter-detail": "no reply topic; its headers: 'correlation-id', 'x'",
        "dead-letter-attempts": "0",
        "dead-letter-topic": "orders",
        "dead-letter-partition": "1",
        "dead-letter-offset": "7",
        "dead-letter-timestamp": "1234",
    }
    assert running.counts == {"malformed": 1, "dead-lettered": 1}


@pytest.mark.parametrize(("key", "value"), [(b"k", None), (None, b"")])
def test_a_record_without_value_is_dead_lettered_too(run, key, value):
    running = run(dlq_topic=DLQ)
    running.feed(FakeRecord(None, [], 0, key, "orders"))
    eventually(lambda: running.committed() == 1)

    (letter,) = running.dead_letters()
    assert (letter.key, letter.value) == (key, value)


def test_a_record_whose_value_was_dropped_is_dead_lettered_without_it(run):
    running = run(dlq_topic=DLQ)
    running.feed(replace(record("the-id", 0), value=DroppedValue("it has 5 bytes")))
    eventually(lambda: running.committed() == 1)

    (letter,) = running.dead_letters()
    assert type(letter.value) is bytes
    assert letter.header("dead-letter-detail") == "its value was dropped: it has 5 bytes"


@pytest.mark.parametrize("dlq_topic", ["", DLQ])
def test_the_position_of_a_record_that_cannot_be_decoded_is_dead_lettered(run, dlq_topic):
    running = run(dlq_topic=dlq_topic)
    running.kafka.positions[P0] = 4
    error = UnicodeDecodeError("utf-8", b"secret", 0, 1, "invalid start byte")
    running.kafka.fail_poll(error, decoding=P0)
    eventually(lambda: running.committed() == 5)

    assert running.counts == {"malformed": 1} | ({"dead-lettered": 1} if dlq_topic else {})
    assert len(running.dead_letters()) == bool(dlq_topic)
    for letter in running.dead_letters():
        assert (letter.key, letter.value) == (None, b"")
        assert letter.header("dead-letter-offset") == "4"
        assert letter.header("dead-letter-detail") == "the record cannot be decoded"
        assert letter.header("dead-letter-exception") == "builtins.UnicodeDecodeError"
        assert "secret" not in str(letter.headers)


def test_a_request_whose_handler_raised_is_answered_and_dead_lettered(run):
    running = run(raising(RuntimeError("a secret of ours")), dlq_topic=DLQ)
    running.feed(record("the-id", 3, key=b"k", body=b"tea"))
    eventually(lambda: running.committed() == 4)

    (letter,) = running.dead_letters()
    assert running.replies()["the-id"].header("status") == "500"
    assert (letter.key, letter.value) == (b"k", b"tea")
    request = Request.decode("orders", letter.key, letter.value, letter.headers)
    assert (request.correlation_id, request.reply_topic) == ("the-id", "replies")
    assert letter.header("dead-letter-reason") == "handler-failed"
    assert letter.header("dead-letter-exception") == "builtins.RuntimeError"
    assert letter.header("dead-letter-attempts") == "1"
    assert "secret" not in str(letter.headers)
    assert running.counts == {"failed": 1, "dead-lettered": 1}


def test_a_request_that_its_handler_refused_is_not_dead_lettered(run):
    running = run(raising(HandlerError(422, "no")), dlq_topic=DLQ)
    running.feed(record("refused", 0), record("late", 1, due_in_ms=-10_000))
    eventually(lambda: running.committed() == 2)

    assert running.dead_letters() == []
    assert running.counts == {"answered": 1, "expired": 1}


def test_without_a_dead_letter_topic_nothing_is_dead_lettered(run):
    running = run(raising(RuntimeError()))
    running.feed(record("the-id", 0), FakeRecord(b"x", [], 1, None, "orders"))
    eventually(lambda: running.committed() == 2)

    assert running.dead_letters() == []


@pytest.mark.parametrize("missing", ["dead letter", "reply"])
def test_the_offset_waits_for_the_dead_letter_and_the_reply(run, missing):
    future = FakeFuture()
    producer = (ToDlq if missing == "dead letter" else FakeProducer)(future)
    running = run(raising(RuntimeError()), producer, dlq_topic=DLQ)
    running.feed(record("the-id", 0))
    eventually(lambda: len(producer.sent) == 2)
    polls = running.kafka.polls
    eventually(lambda: running.kafka.polls > polls + 5)
    before = running.committed()
    future.succeed()
    eventually(lambda: running.committed() == 1)

    assert before in (None, 0)


def test_a_dead_letter_not_acknowledged_until_the_stop_is_left_to_a_successor(run):
    running = run(producer=ToDlq(FakeFuture()), dlq_topic=DLQ)
    running.feed(FakeRecord(b"x", [], 3, None, "orders"))
    eventually(lambda: running.dead_letters())
    running.end()

    assert running.committed() in (None, 3)


class MissingDlq(FakeProducer):
    """A producer whose send() to the dead-letter topic blocks, as without metadata."""

    attempts = 0

    def send(self, topic, **arguments):
        if topic != DLQ:
            return super().send(topic, **arguments)
        self.attempts += 1
        time.sleep(0.2)
        raise kafka_errors.KafkaTimeoutError("no metadata")


def test_a_missing_dead_letter_topic_delays_no_reply_and_blocks_no_partition_for_ever(
    run, monkeypatch, caplog
):
    monkeypatch.setattr("responder.publishing.dead_letters.GIVE_UP_S", 0.5)
    producer = MissingDlq()
    running = run(raising(RuntimeError()), producer, threads=1, dlq_topic=DLQ)
    started_s = time.monotonic()
    running.feed(*[record(f"id-{n}", n, key=b"same") for n in range(3)])
    eventually(lambda: len(running.replies()) == 3)
    replied_s = time.monotonic() - started_s
    running.feed(record("later", 0, partition=1))  # brokers accept its reply
    eventually(lambda: running.committed() == 3)

    assert replied_s < 0.2  # none waits for the topic
    assert running.counts["unsent"] == 3
    assert "RESPONDER_DLQ_TOPIC=dead does not accept its dead letter (Kafka" in caplog.text
    assert "create the topic if it is missing, and grant Describe and Write" in caplog.text
    for offset in range(3):
        assert f"record orders/0/{offset}: not dead-lettered" in caplog.text


@pytest.mark.parametrize("is_outage", [True, False])
def test_in_an_outage_a_dead_letter_is_given_up_later(run, monkeypatch, is_outage):
    monkeypatch.setattr("responder.publishing.dead_letters.GIVE_UP_S", 0.1)
    monkeypatch.setattr("responder.publishing.dead_letters.GIVE_UP_IN_OUTAGE_S", 1.0)
    producer = ToDlq()
    producer.always = kafka_errors.KafkaTimeoutError("asleep")
    running = run(producer=producer, dlq_topic=DLQ)
    started_s = time.monotonic()
    running.feed(FakeRecord(b"x", [], 0, None, "orders"))
    if not is_outage:
        eventually(lambda: running.committed(P0) is not None)
        running.feed(record("the-id", 0, partition=1))
    eventually(lambda: running.committed() == 1)

    assert (time.monotonic() - started_s >= 1.0) == is_outage


def test_without_permission_the_log_says_what_to_grant(run, monkeypatch, caplog):
    denied = kafka_errors.TopicAuthorizationFailedError()
    running = run(producer=ToDlq(FakeFuture().fail(denied), denied), dlq_topic=DLQ)
    running.feed(FakeRecord(b"x", [], 0, None, "orders"))
    eventually(lambda: running.committed() == 1)

    assert caplog.text.count("grant Describe and Write on it") == 1  # throttled
    assert len(running.dead_letters()) == 2  # the first was refused by the broker


def test_a_dead_letter_that_is_too_large_keeps_its_position(run, caplog):
    error = kafka_errors.MessageSizeTooLargeError()
    running = run(raising(RuntimeError()), ToDlq(error), dlq_topic=DLQ)
    running.feed(record("the-id", 5, body=b"x" * 1_000))
    eventually(lambda: running.committed() == 6)

    (letter,) = running.dead_letters()
    assert letter.value == b""
    assert set(dict(letter.headers)) <= set(DEAD_LETTER_HEADERS)
    assert letter.header("dead-letter-offset") == "5"
    assert "raise max.message.bytes of RESPONDER_DLQ_TOPIC" in caplog.text


def test_dead_letters_of_one_key_are_sent_in_order(run):
    running = run(raising(RuntimeError()), dlq_topic=DLQ)
    running.feed(*[record(f"id-{n}", n, key=b"same") for n in range(50)])
    eventually(lambda: running.committed() == 50)

    offsets = [int(letter.header("dead-letter-offset")) for letter in running.dead_letters()]
    assert offsets == list(range(50))


def test_a_dead_letter_that_fails_again_has_the_headers_of_its_last_failure(run):
    running = run(raising(RuntimeError()), dlq_topic=DLQ)
    again = record("the-id", 9)
    again.headers.append(("dead-letter-reason", b"malformed"))
    again.headers.append(("dead-letter-offset", b"1"))
    running.feed(again)
    eventually(lambda: running.committed() == 10)

    (letter,) = running.dead_letters()
    assert letter.header("dead-letter-reason") == "handler-failed"
    assert letter.header("dead-letter-offset") == "9"


class Raising(FakeProducer):
    """A producer whose first send() to *topic* raises *error*."""

    def __init__(self, topic, error):
        super().__init__()
        self._errors = {topic: error}

    def send(self, topic, **arguments):
        if topic in self._errors:
            raise self._errors.pop(topic)
        return super().send(topic, **arguments)


@pytest.mark.parametrize("error", [AssertionError("of the library"), Panic()])
def test_a_reply_that_cannot_be_sent_leaves_a_dead_letter(run, error):
    running = run(producer=Raising("replies", error), dlq_topic=DLQ)
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)

    (letter,) = running.dead_letters()
    assert letter.header("dead-letter-reason") == "not-answered"
    assert running.counts == {"answered": 1, "skipped": 1, "dead-lettered": 1}


@pytest.mark.parametrize("error", [AssertionError("of the library"), Panic()])
def test_a_dead_letter_that_cannot_be_sent_blocks_neither_its_partition_nor_others(run, error):
    running = run(raising(RuntimeError()), Raising(DLQ, error), dlq_topic=DLQ)
    running.feed(record("the-id", 0))
    eventually(lambda: running.committed() == 1)
    running.feed(record("next", 1))
    eventually(lambda: running.committed() == 2)

    assert running.counts == {"failed": 2, "skipped": 1, "dead-lettered": 1}


def test_a_failure_survives_the_journal():
    failure = Failure.by(Reason.HANDLER_FAILED, RuntimeError("secret"), 2)

    assert Failure.from_text(failure.to_text()) == failure
    assert "secret" not in failure.to_text()
    for text in ("", "a detail", "[]", "{}", '{"dead_letter": 1}', '{"dead_letter": ["x", "", 1]}'):
        assert Failure.from_text(text) is None


def test_no_http_client_can_set_a_header_of_dead_letters():
    assert set(DEAD_LETTER_HEADERS) <= RESERVED_HEADERS


def test_the_handler_sees_no_header_of_an_earlier_dead_letter(run):
    seen = []

    def handler(request):
        seen.append(request.headers)
        return Reply.to(request)

    running = run(handler)
    again = record("the-id", 0)
    again.headers.append(("dead-letter-reason", b"malformed"))
    running.feed(again)
    eventually(lambda: running.committed(P0) == 1)

    assert seen == [()]
