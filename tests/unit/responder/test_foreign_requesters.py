"""Requesters that are not a gateway: how their requests are read, and what their replies carry."""

import json

import pytest
from kafka import errors as kafka_errors

from rendezvous.contract import Reply
from rendezvous.correlation import epoch_ms
from responder.clock_skew import CLOCK_TOLERANCE_MS
from responder.registry import HandlerError, Retry
from tests.fakes import FakeFuture, FakeProducer, FakeRecord, eventually
from tests.unit.responder.conftest import P0

UUID = bytes.fromhex("8f14e45fceea467fab0cd1b6a5c9e3f7")
SPRING = [("kafka_correlationId", UUID), ("kafka_replyTopic", b"replies")]
NEST = [
    ("kafka_correlationId", b"the-id"),
    ("kafka_replyTopic", b"replies"),
    ("kafka_replyPartition", b"0"),
]
QUARKUS = [("REPLY_CORRELATION_ID", bytes(range(244, 256))), ("REPLY_TOPIC", b"replies")]
FASTSTREAM = [("correlation_id", b"the-id"), ("reply_to", b"replies"), ("content-type", b"")]
#: Of a service that writes the headers of a gateway.
OURS = [("correlation-id", b"the-id"), ("reply-topic", b"replies")]
ID_NAMES = {"correlation-id", "kafka_correlationId", "REPLY_CORRELATION_ID", "correlation_id"}


def asked(headers, offset=0, *, key=None, value=b"tea", timestamp=None):
    sent_ms = epoch_ms() if timestamp is None else timestamp
    return FakeRecord(value, headers, offset, key, "orders", 0, sent_ms)


def answer(run, headers, handler=Reply.to, **fields):
    """Return what the producer sent for a request with *headers*."""
    producer = FakeProducer()
    producer.partitions = [0, 1, 2]
    running = run(handler, producer)
    running.feed(asked(headers, **fields))
    eventually(lambda: running.committed() == 1)
    assert len(running.producer.sent) == 1, running.counts
    return running.producer.sent[0]


def refuse(request):
    raise HandlerError(422, "the quantity is missing")


def fail(request):
    raise RuntimeError("no stock")


@pytest.mark.parametrize("headers", [SPRING, NEST, QUARKUS, FASTSTREAM])
def test_the_id_comes_back_byte_for_byte_under_its_own_name_alone(run, headers):
    sent = answer(run, headers)

    assert [h for h in sent.headers if h[0] in ID_NAMES] == headers[:1]
    assert ("status", b"200") in sent.headers


def test_an_id_under_several_names_comes_back_under_each(run):
    headers = [("correlation_id", b"i"), ("kafka_correlationId", b"i"), ("reply_to", b"replies")]
    sent = answer(run, headers)

    assert [h for h in sent.headers if h[0] in ID_NAMES] == headers[:2]


def test_a_gateway_gets_its_id_under_one_name(run):
    names = [(name, b"i") for name in sorted(ID_NAMES)]
    deadline = ("deadline", b"%d" % (epoch_ms() + 10_000))
    sent = answer(run, [*names, ("reply-topic", b"replies"), deadline])

    assert sent.headers == [("correlation-id", b"i"), ("status", b"200")]


@pytest.mark.parametrize(
    ("name", "value", "partition"),
    [
        ("reply-partition", b"1", 1),
        ("kafka_replyPartition", b"1", 1),
        ("kafka_replyPartition", b"\0\0\0\1", 1),
        ("REPLY_PARTITION", b"\0\0\0\1", 1),
        ("REPLY_PARTITION", b"\0\0\0\x09", None),  # the topic has no such partition
        ("REPLY_PARTITION", b"\xff\xff\xff\xff", None),
        ("reply-partition", b"\0\0\0\1", None),
        ("kafka_replyPartition", b"one", None),
    ],
)
def test_the_reply_partition_is_read_in_digits_and_in_four_bytes(run, name, value, partition):
    headers = [("correlation_id", b"i"), ("reply_to", b"replies"), (name, value)]

    assert answer(run, headers).partition == partition


def test_nest_is_told_that_a_reply_is_the_last(run):
    assert ("kafka_nest-is-disposed", b"\0") in answer(run, NEST).headers
    assert "kafka_nest-is-disposed" not in dict(answer(run, SPRING).headers)


def test_a_refusal_reaches_nest_as_an_error_with_status_and_message(run):
    error = json.loads(answer(run, NEST, refuse).header("kafka_nest-err"))

    assert (error["statusCode"], error["message"]) == (422, "the quantity is missing")
    assert (error["status"], error["title"]) == (422, "Request refused")


@pytest.mark.parametrize("body", [b"", b"no", b"[1]", b"\xff", b'{"a": "' + b"b" * 9_000 + b'"}'])
def test_any_failed_reply_is_an_error_of_nest(run, body):
    sent = answer(run, NEST, lambda request: Reply.to(request, body, status=404))
    error = json.loads(sent.header("kafka_nest-err"))

    assert error["statusCode"] == 404
    assert error["message"]
    assert len(sent.header("kafka_nest-err")) <= 8_000


@pytest.mark.parametrize(
    ("headers", "name"), [(SPRING, "serverSentAnError"), (QUARKUS, "REPLY_ERROR")]
)
def test_a_failure_reaches_spring_and_quarkus_in_the_header_of_their_documents(run, headers, name):
    assert answer(run, headers, refuse).header(name) == "the quantity is missing"
    assert (
        answer(run, headers, fail).header(name)
        == "the handler of orders failed; its log has the cause"
    )
    assert name not in dict(answer(run, headers).headers)


def test_faststream_has_no_header_for_failures(run):
    sent = answer(run, FASTSTREAM, refuse)

    assert sent.header("status") == "422"
    assert {name for name, _ in sent.headers} == {"correlation_id", "status", "content-type"}


def test_without_a_deadline_a_request_is_handled_for_half_a_minute(run):
    running = run()
    running.kafka.highwaters[P0] = 100  # there is more: the requests may have waited
    running.feed(asked(SPRING, 0, timestamp=epoch_ms() - 20_000))
    running.feed(asked(SPRING, 1, timestamp=epoch_ms() - 40_000))
    running.feed(asked(SPRING, 2, timestamp=-1))
    running.feed(asked(SPRING, 3, timestamp=epoch_ms() + 3_600_000))
    eventually(lambda: running.committed() == 4)

    assert running.counts == {"answered": 3, "expired": 1}


def test_a_requester_with_another_clock_is_answered_and_is_not_clock_skew(run, monkeypatch, caplog):
    monkeypatch.setattr("responder.clock_skew.MIN_LATE_S", 0.0)
    running = run()
    running.kafka.highwaters[P0] = 0  # the partition is always read to its end
    running.feed(asked(SPRING, 0))
    eventually(lambda: running.committed() == 1)  # the first one may have waited
    an_hour_ago_ms, in_an_hour_ms = epoch_ms() - 3_600_000, epoch_ms() + 3_600_000
    for offset in range(1, 8):
        running.feed(asked(SPRING, offset, timestamp=an_hour_ago_ms))
    for offset in range(8, 16):
        running.feed(asked([*SPRING, ("deadline", b"%d" % an_hour_ago_ms)], offset))
    for offset in range(16, 18):
        running.feed(asked([*SPRING, ("deadline", b"%d" % in_an_hour_ms)], offset))
    eventually(lambda: running.committed() == 18)

    assert running.counts == {"answered": 10, "expired": 8}
    assert "clock" not in caplog.text


@pytest.mark.parametrize("raw", [b"", b"a" * 201, b"\xff" * 99])
def test_an_id_that_is_empty_or_too_long_is_malformed(run, raw):
    running = run()
    running.feed(asked([("kafka_correlationId", raw), ("kafka_replyTopic", b"replies")]))
    eventually(lambda: running.committed() == 1)

    assert running.counts == {"malformed": 1}


def test_a_deadline_that_is_not_valid_is_not_a_missing_one(run):
    running = run()
    running.feed(asked([*SPRING, ("deadline", b"soon")]), asked([*SPRING, ("deadline", None)], 1))
    eventually(lambda: running.committed() == 2)

    assert running.counts == {"malformed": 2}


def test_a_handler_is_called_again_although_the_clock_of_the_requester_is_behind(run):
    attempts = []

    def handler(request):
        attempts.append(request)
        if len(attempts) == 2:  # the first request only shows that the partition is read
            raise Retry(after_s=0.01)
        return Reply.to(request)

    running = run(handler, max_attempts=3)
    running.kafka.highwaters[P0] = 0
    running.feed(asked(SPRING, 0))
    eventually(lambda: running.committed() == 1)
    running.feed(asked(SPRING, 1, timestamp=epoch_ms() - 3_600_000))
    eventually(lambda: running.committed() == 2)

    assert running.counts == {"answered": 2, "retried": 1}


@pytest.mark.parametrize("headers", [SPRING, OURS])
def test_a_reply_to_another_requester_is_given_up_a_minute_after_whatever_its_deadline(
    run, monkeypatch, headers
):
    refused = kafka_errors.UnknownTopicOrPartitionError()
    producer = FakeProducer(*[FakeFuture().fail(refused) for _ in range(50)])
    monkeypatch.setattr("responder.publishing.replies.MAX_WAIT_MS", -CLOCK_TOLERANCE_MS)
    running = run(producer=producer)
    running.feed(asked([*headers, ("deadline", b"999999999999999")]))
    eventually(lambda: running.committed() == 1, within_s=1)

    assert running.counts == {"answered": 1, "unsent": 1}
