"""Replies as other frameworks write them: failures, statuses, content types."""

import json

import pytest

from rendezvous.contract import Outcome, Reply
from rendezvous.errors import MalformedRecord, UnusableReply
from rendezvous.framework_replies import failure_report
from rendezvous.framework_requests import REPLY_TOPIC_HEADERS
from rendezvous.reply_headers import MAX_HEADERS, MAX_HEADERS_BYTES

ID = [("kafka_correlationId", b"the-id")]
SIGNATURE = (
    b"Listener method 'public java.lang.String interop.Responder.fails(java.lang.String)' threw\n"
    b"\tat org.springframework.kafka.listener.Adapter.invoke(Adapter.java:42)"
)
#: What DeadLetterPublishingRecoverer adds to the headers of the request.
DEAD_LETTER = [
    ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.ListenerExecutionFailedException"),
    ("kafka_dlt-exception-cause-fqcn", b"java.lang.IllegalStateException"),
    ("kafka_dlt-exception-message", SIGNATURE),
    ("kafka_dlt-exception-stacktrace", SIGNATURE),
    ("kafka_dlt-original-topic", b"orders"),
    ("kafka_dlt-original-offset", bytes(8)),
]
REPLY_TOPIC = [("kafka_replyTopic", b"replies")]
FAILURES_OF_SPRING = [
    pytest.param([*DEAD_LETTER], id="dead letter"),
    pytest.param([*REPLY_TOPIC, *DEAD_LETTER], id="dead letter with the headers of the request"),
    pytest.param([("kafka_dlt-key-exception-fqcn", b"java.lang.Exception")], id="bad key"),
    pytest.param([*REPLY_TOPIC, *DEAD_LETTER, ("status", b"200")], id="dead letter and status"),
    pytest.param([("serverSentAnError", SIGNATURE)], id="replyErrorChecker"),
    pytest.param([("serverSentAnError", b"")], id="replyErrorChecker, empty"),
]


def nest(error):
    """Return the reply of a NestJS responder that failed with *error*."""
    raw = error if isinstance(error, bytes) else json.dumps(error).encode()
    return Reply.decode(None, [*ID, ("kafka_nest-err", raw)])


@pytest.mark.parametrize("headers", FAILURES_OF_SPRING)
def test_a_failure_of_spring_is_no_answer_and_shows_nothing_of_java(headers):
    reply = Reply.decode(b"the body of the request", [*ID, *headers])

    assert (reply.outcome, reply.status, reply.body) == (Outcome.FAILED, 502, b"")
    assert reply.detail
    assert "java" not in reply.detail
    assert "springframework" not in reply.detail


@pytest.mark.parametrize("name", REPLY_TOPIC_HEADERS)
def test_a_request_that_was_dead_lettered_without_an_exception_is_malformed(name):
    headers = [*ID, (name, b"replies"), ("kafka_dlt-original-topic", b"orders"), ("status", b"200")]

    with pytest.raises(MalformedRecord, match="dead-lettered"):
        Reply.decode(b"the body of the request", headers)


def test_a_reply_with_headers_of_a_dead_letter_and_a_status_is_an_answer():
    reply = Reply.decode(b"gone", [*ID, *DEAD_LETTER, ("status", b"410")])

    assert (reply.outcome, reply.status, reply.body) == (Outcome.ANSWERED, 410, b"gone")


def test_a_reply_that_copies_the_headers_of_its_request_is_an_answer():
    assert Reply.decode(b"x", [*ID, *REPLY_TOPIC]).outcome is Outcome.ANSWERED


@pytest.mark.parametrize(
    ("headers", "report"),
    [
        (DEAD_LETTER, "java.lang.IllegalStateException: Listener method "),
        ([("kafka_dlt-exception-fqcn", b"a.B")], "a.B"),
        ([("serverSentAnError", SIGNATURE)], "serverSentAnError: Listener method "),
        ([("kafka_nest-err", b"no stock")], "kafka_nest-err: no stock"),
        ([("Error", b"a\r\nforged")], "Error: a"),
        ([("Error", b"a\x1bb")], r"Error: a\x1bb"),
        ([("Error", None)], ""),
    ],
)
def test_the_report_of_a_failure_is_one_bounded_line(headers, report):
    headers = [*headers, ("x-long", b"x" * 10_000)]

    assert failure_report(headers)[1:].startswith(report)
    assert len(failure_report([*headers, ("Error", b"x" * 10_000)])) < 700
    assert "\n" not in failure_report(headers)
    assert "Adapter.java" not in failure_report(headers)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"statusCode": 404, "message": "no order"}, 404),
        ({"status": 422}, 422),
        ({"status": "error", "statusCode": 400}, 400),
        ({"statusCode": 200, "status": 503}, 503),
        ({"statusCode": 599, "é": [1]}, 599),
    ],
)
def test_an_error_of_nestjs_with_a_status_is_an_http_response(error, status):
    reply = nest(error)

    assert (reply.outcome, reply.status) == (Outcome.ANSWERED, status)
    assert json.loads(reply.body) == error
    assert reply.headers == (("content-type", "application/json"),)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        ({"status": "error", "message": "no stock"}, "no stock"),
        ({"statusCode": 200, "message": "no stock"}, "no stock"),
        ({"statusCode": 399, "message": "no stock"}, "no stock"),
        ({"statusCode": 600, "message": "no stock"}, "no stock"),
        ({"statusCode": "404", "message": "no stock"}, "no stock"),
        ({"statusCode": 404.0, "message": "no stock"}, "no stock"),
        ({"statusCode": True, "message": "no stock\n at Handler (handler.js:1)"}, "no stock"),
        (b"no stock", "no stock"),
        (b'"no stock"', "no stock"),
        ({"message": {"a": 1}}, "the responder reported a failure"),
        ([404], "the responder reported a failure"),
        (b"", "the responder reported a failure"),
        (b"404", "the responder reported a failure"),
        (b'{"statusCode": 404, "a": NaN}', "the responder reported a failure"),
        (b'{"a":' * 100_000, "the responder reported a failure"),
        (b'{"statusCode": 404, "a": "' + b"a" * MAX_HEADERS_BYTES + b'"}', "the responder"),
    ],
)
def test_another_error_of_nestjs_is_a_failure_with_a_plain_detail(error, detail):
    reply = nest(error)

    assert (reply.outcome, reply.status, reply.body) == (Outcome.FAILED, 502, b"")
    assert reply.detail.startswith(detail)
    assert not set(reply.detail) & set("{}\n\\")


@pytest.mark.parametrize(
    ("status", "number"),
    [(b"201 CREATED", 201), (b'"201"', 201), (b'"201 CREATED"', 201), (b"404 Not Found", 404),
     (b"203 Non-Authoritative Information", 203), (b"418 I_AM_A_TEAPOT", 418)],
)  # fmt: skip
def test_a_status_with_its_phrase_or_in_quotes_is_read(status, number):
    assert Reply.decode(b"", [*ID, ("status", status)]).status == number


@pytest.mark.parametrize(
    "status",
    [b'"201', b'201"', b'""201""', b"'201'", b"201CREATED", b"201 ", b"201  CREATED", b'"CREATED"',
     b"201 CREATED\n", b"600 X", b'"199"', b"201 " + b"A" * 100],
)  # fmt: skip
def test_a_status_that_is_almost_one_makes_a_reply_unusable(status):
    with pytest.raises(UnusableReply, match="not an HTTP status"):
        Reply.decode(b"", [*ID, ("status", status)])


@pytest.mark.parametrize(
    "value", [b'"application/json"', b"application/json", b' "application/json" ']
)
def test_the_content_type_of_spring_is_read(value):
    reply = Reply.decode(b"{}", [*ID, ("contentType", value)])

    assert reply.headers == (("content-type", "application/json"),)


@pytest.mark.parametrize("empty", [b"", b"  "])
def test_an_empty_content_type_counts_as_missing(empty):
    headers = [*ID, ("content-type", empty)]

    assert Reply.decode(b"x", headers).headers == ()
    assert Reply.decode(None, headers).headers == ()
    assert Reply.decode(b"x", [*headers, ("contentType", b'"a/b"')]).headers == (
        ("content-type", "a/b"),
    )


def test_the_content_type_wins_over_the_one_of_spring():
    headers = [*ID, ("contentType", b'"a/b"'), ("Content-Type", b"text/plain")]

    assert Reply.decode(b"x", headers).headers == (("content-type", "text/plain"),)


@pytest.mark.parametrize(
    "value",
    [b"", b'""', b'"', b"null", b"text", b'{"type":"a/b"}', b"a/b\r\nX: y", "a/é".encode(),
     b"a/" + b"b" * 10_000],
)  # fmt: skip
def test_an_invalid_content_type_of_spring_is_ignored(value):
    assert Reply.decode(b"x", [*ID, ("contentType", value)]).headers == ()


def test_the_number_of_headers_is_bounded():
    headers = [(f"x-{n}", b"") for n in range(MAX_HEADERS)]

    assert MAX_HEADERS == 100
    assert len(Reply.decode(b"", [*ID, *headers]).headers) == MAX_HEADERS
    with pytest.raises(UnusableReply, match="101 headers"):
        Reply.decode(b"", [*ID, *headers, ("x-y", b"")])


@pytest.mark.parametrize("name", ["Correlation-Id", "correlationId", "zilla:correlation-id"])
def test_the_error_of_a_record_without_an_id_lists_its_headers(name):
    with pytest.raises(MalformedRecord, match=f"no correlation id; its headers: '{name}', 'a'"):
        Reply.decode(b"", [(name, b"secret"), ("a", b"secret")])


def test_the_list_of_headers_is_one_bounded_line():
    headers = [(f"x\n{n}" + "x" * 1_000, b"") for n in range(1_000)]

    with pytest.raises(MalformedRecord) as caught:
        Reply.decode(b"", headers)

    assert "980 more" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_200


def test_a_dead_letter_of_our_responder_is_never_an_answer():
    headers = [*ID, ("status", b"200"), ("dead-letter-reason", b"handler-failed")]

    with pytest.raises(MalformedRecord, match="was dead-lettered"):
        Reply.decode(b"{}", headers)
