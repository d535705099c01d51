"""Records that are no usable replies: they are skipped or answered, counted and logged."""

import pytest

from rendezvous.contract import Outcome
from rendezvous.correlation import CorrelationIds, epoch_ms
from tests.fakes import FakeRecord, eventually
from tests.support.metric_values import Increase
from tests.unit.replies.conftest import P0, record

DEAD_LETTER = [
    ("correlation-id", b"a"),
    ("reply-topic", b"replies"),
    ("kafka_dlt-original-topic", b"orders"),
]
BROKEN_RECORDS = [
    pytest.param(DEAD_LETTER, "malformed", id="dead letter"),
    pytest.param([], "malformed", id="no id"),
    pytest.param([("correlation-id", None)], "malformed", id="null id"),
    pytest.param([("correlation-id", b"a"), ("correlation-id", b"b")], "malformed", id="two ids"),
    pytest.param([("correlation-id", b"not ours")], "foreign", id="not ours"),
    pytest.param([("correlation-id", b"\xff\xfe")], "foreign", id="not text"),
    pytest.param([("correlation-id", b"a" * 1_000_000)], "foreign", id="a huge id"),
]


@pytest.mark.parametrize(("headers", "kind"), BROKEN_RECORDS)
@pytest.mark.parametrize("value", [None, b"", b"\xff" * 10])
def test_a_broken_record_is_skipped_counted_and_logged(
    running, kafka, store, new_id, caplog, headers, kind, value
):
    cid = new_id()
    counted = Increase("rendezvous_reply_records_total", {"outcome": kind})
    kafka.feed(FakeRecord(value, headers, 0), record(cid, 1), FakeRecord(value, headers, 2))
    eventually(lambda: kafka.committed_offset(P0) == 3)

    assert running.counts[kind] == counted() == 2
    assert running.counts["stored"] == 1
    assert store.fetch_many([cid.text])
    assert f"{kind} record replies/0/0 skipped" in caplog.text


def test_a_poll_with_broken_records_only_is_committed(running, kafka):
    kafka.feed(FakeRecord(b"", [], 5))
    eventually(lambda: kafka.committed_offset(P0) == 6)

    assert running.counts.total() == running.counts["malformed"] == 1


def test_an_id_of_another_secret_key_is_foreign(running, kafka, redis):
    other = CorrelationIds("another secret of the tests")
    foreign = other.read(other.issue("0a1b2c3d", epoch_ms() + 3_000))
    kafka.feed(record(foreign, 0))
    eventually(lambda: kafka.committed_offset(P0) == 1)

    assert running.counts["foreign"] == 1
    assert redis.keys("reply:*") == []


@pytest.mark.parametrize("status", ["42", "101", "abc", "600", "", "2000", " 200"])
def test_an_unusable_reply_is_stored_as_a_502(running, kafka, store, new_id, status):
    cid = new_id()
    kafka.feed(record(cid, 0, status=status))
    eventually(lambda: kafka.committed_offset(P0) == 1)

    reply = store.fetch_many([cid.text])[cid.text]
    assert (reply.outcome, reply.status, reply.body) == (Outcome.UNUSABLE, 502, b"")
    assert repr(status) in reply.detail
    assert running.counts["unusable"] == 1


def test_a_failure_that_a_framework_reports_is_stored_without_its_report_which_is_logged(
    running, kafka, store, new_id, caplog
):
    cid = new_id()
    error = [
        ("kafka_dlt-exception-cause-fqcn", b"java.lang.E"),
        ("kafka_dlt-exception-message", b"m"),
    ]
    headers = [("correlation-id", cid.text.encode()), ("reply-topic", b"replies"), *error]
    kafka.feed(FakeRecord(b"the body of the request", headers, 0))
    eventually(lambda: kafka.committed_offset(P0) == 1)

    reply = store.fetch_many([cid.text])[cid.text]
    assert (reply.outcome, reply.status, reply.body) == (Outcome.FAILED, 502, b"")
    assert "java" not in reply.detail
    (line,) = [line for line in caplog.records if line.name == "replies.listener"]
    assert line.getMessage() == "the reply reports a failure: 'java.lang.E: m'"
    assert line.__dict__["correlation_id"] == cid.text


def test_the_log_line_of_a_record_without_an_id_lists_its_headers(running, kafka, caplog):
    kafka.feed(FakeRecord(b"", [("correlationId", b"a"), ("status", b"200")], 0))
    eventually(lambda: kafka.committed_offset(P0) == 1)

    assert "no correlation id; its headers: 'correlationId', 'status'" in caplog.text


def test_an_undecodable_record_is_skipped_and_counted(running, kafka, new_id, caplog):
    caplog.set_level("INFO")
    kafka.positions[P0] = 0
    kafka.fail_poll(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), decoding=P0)
    kafka.feed(record(new_id(), 1))
    eventually(lambda: kafka.committed_offset(P0) == 2)
    running.end()

    assert running.counts["undecodable"] == 1
    assert "stored 1" in caplog.text
    assert "undecodable 1" in caplog.text
