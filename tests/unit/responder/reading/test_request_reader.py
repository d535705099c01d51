"""RequestReader and ReplyTopics: which records are requests, and where replies may go."""

import pytest

from rendezvous.contract import Reply
from responder.reading.reply_topics import ReplyTopics
from responder.reading.request_reader import ReplyTopicRefused, RequestReader
from tests.fakes import FakeRecord, eventually
from tests.unit.responder.conftest import record


@pytest.mark.parametrize(
    ("patterns", "topic", "is_allowed"),
    [
        (["replies"], "replies", True),
        (["replies"], "replies2", False),
        (["replies"], "Replies", False),
        ([], "replies", False),
        (["*.reply", "replies"], "orders.reply", True),
        (["*.reply"], "orders_reply", False),
        (["*.reply"], "orders.reply.2", False),
        (["team-*-in", "x*"], "team-a.b-in", True),
        (["*"], "anything", True),
    ],
)
def test_a_reply_may_go_to_a_topic_that_a_pattern_matches_as_a_whole(patterns, topic, is_allowed):
    assert (topic in ReplyTopics(patterns)) == is_allowed


def test_a_request_with_another_reply_topic_is_refused_with_what_to_set():
    reader = RequestReader(ReplyTopics(["replies"]))

    assert reader.read(record("the-id"), None).correlation_id == "the-id"
    with pytest.raises(ReplyTopicRefused, match=r"topic secrets .* RESPONDER_REPLY_TOPICS"):
        reader.read(record("the-id", reply_topic="secrets"), None)


def test_the_deadline_of_a_request_that_names_none_is_that_of_the_setting():
    headers = [("correlation_id", b"i"), ("reply_to", b"replies")]
    reader = RequestReader(deadline_s=5)
    sent = FakeRecord(b"", headers, topic="orders", timestamp=1_000)

    assert reader.read(sent, None).deadline_ms == 6_000
    assert reader.read(sent, 50_000).deadline_ms == 55_000


def test_a_refused_request_is_not_handled_and_blocks_none_behind_it(run, caplog):
    handled = []

    def handler(request):
        handled.append(request.correlation_id)
        return Reply.to(request)

    reader = RequestReader(ReplyTopics(["replies"]))
    running = run(handler, reader=reader, dlq_topic="dead")
    running.feed(record("refused", 0, key=b"k", reply_topic="secrets"))
    running.feed(*[record(f"id-{n}", n, key=b"k") for n in range(1, 4)])
    eventually(lambda: running.committed() == 4)

    assert handled == ["id-1", "id-2", "id-3"]
    assert running.counts == {"refused": 1, "dead-lettered": 1, "answered": 3}
    (letter,) = running.dead_letters()
    assert letter.header("dead-letter-reason") == "reply-topic-refused"
    assert "RESPONDER_REPLY_TOPICS" in letter.header("dead-letter-detail")
    assert (
        "request orders/0/0 is not handled: its reply topic secrets is not allowed" in caplog.text
    )
