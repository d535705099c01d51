"""The requester: register, publish, wait, and tell the truth about how it ended."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import problems as errors
from gateway.exchange.mailbox import Mailbox
from gateway.exchange.requester import Deadline, Requester, Terms, usable
from gateway.problems import Sent
from rendezvous.contract import Outcome, Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge
from tests.fakes import PatientClient, eventually


@pytest.fixture
def requester(ids, mailbox, publisher):
    return PatientClient(Requester(ids, mailbox, publisher), 10)


@pytest.fixture
def hasty(ids, mailbox, publisher):
    """A requester that does not wait long."""
    return PatientClient(Requester(ids, mailbox, publisher), 0.1)


def new_request(correlation_id, deadline_ms):
    return Request(correlation_id, "orders", "replies", deadline_ms, b"body")


def test_the_reply_to_a_request_is_returned(requester, publisher):
    publisher.answer = lambda request: Reply.to(request, b"answer", status=201)

    reply = requester.send_and_receive(new_request)

    (request,) = publisher.published
    assert reply == Reply.to(request, b"answer", status=201)


def test_the_id_names_this_process_and_the_deadline_of_the_request(
    requester, publisher, ids, mailbox
):
    before_ms = epoch_ms()
    requester.send_and_receive(new_request)

    (request,) = publisher.published
    known = ids.read(request.correlation_id)
    assert known.node == mailbox.node
    assert known.deadline_ms == request.deadline_ms
    assert before_ms + 10_000 <= request.deadline_ms <= epoch_ms() + 10_000


def test_a_request_is_registered_before_it_is_published(ids, mailbox, publisher, monkeypatch):
    registered = []
    publisher.then = lambda: registered.append(
        publisher.published[-1].correlation_id in mailbox._waiters
    )
    publisher.answer = lambda request: None

    with pytest.raises(errors.ReplyTimeout):
        PatientClient(Requester(ids, mailbox, publisher), 0.05).send_and_receive(new_request)

    assert registered == [True]


def test_nobody_waits_any_more_when_the_exchange_is_over(requester, hasty, publisher, mailbox):
    requester.send_and_receive(new_request)
    publisher.answer = lambda request: None
    with pytest.raises(errors.ReplyTimeout):
        hasty.send_and_receive(new_request)
    publisher.refused_at_once = PublishRefused("no")
    with pytest.raises(errors.NotSent):
        hasty.send_and_receive(new_request)

    assert not mailbox._waiters


@pytest.mark.parametrize(("acknowledged", "sent"), [(True, Sent.YES), (False, Sent.UNKNOWN)])
def test_silence_is_a_timeout_that_knows_whether_the_request_was_taken(
    hasty, publisher, acknowledged, sent
):
    publisher.answer = lambda request: None
    publisher.acknowledges = acknowledged

    with pytest.raises(errors.ReplyTimeout) as caught:
        hasty.send_and_receive(new_request)

    assert caught.value.sent is sent
    assert caught.value.status == 503
    assert caught.value.title == "Gateway Timeout"
    assert caught.value.correlation_id == publisher.published[0].correlation_id
    assert "0.1 s" in caught.value.detail


def test_the_status_of_a_timeout_is_a_setting(ids, mailbox, publisher):
    publisher.answer = lambda request: None

    with pytest.raises(errors.ReplyTimeout) as caught:
        PatientClient(Requester(ids, mailbox, publisher, 504), 0.05).send_and_receive(new_request)

    assert caught.value.status == 504


def test_a_timeout_keeps_to_its_deadline(ids, mailbox, publisher):
    publisher.answer = lambda request: None
    began_s = time.monotonic()

    with pytest.raises(errors.ReplyTimeout):
        PatientClient(Requester(ids, mailbox, publisher), 0.3).send_and_receive(new_request)

    assert 0.3 <= time.monotonic() - began_s < 5


def test_a_reply_that_only_the_last_look_finds_is_returned(ids, store, publisher):
    idle = Mailbox(store)  # never started: its poller finds nothing

    reply = PatientClient(Requester(ids, idle, publisher), 0.05).send_and_receive(new_request)

    assert reply.correlation_id == publisher.published[0].correlation_id


def test_a_refusal_at_once_was_not_sent(requester, publisher):
    publisher.refused_at_once = PublishRefused("topic 'orders' is not there")

    with pytest.raises(errors.NotSent, match="not there") as caught:
        requester.send_and_receive(new_request)

    assert caught.value.sent is Sent.NO
    assert caught.value.correlation_id is not None


def test_a_later_refusal_is_answered_at_once_and_not_as_a_timeout(ids, mailbox, publisher):
    publisher.answer = lambda request: None
    publisher.refused_later = PublishRefused("denied")
    began_s = time.monotonic()

    with pytest.raises(errors.NotSent, match="denied") as caught:
        PatientClient(Requester(ids, mailbox, publisher), 20).send_and_receive(new_request)

    assert caught.value.sent is Sent.NO
    assert time.monotonic() - began_s < 10


def test_a_send_that_failed_but_may_be_appended_is_unknown(hasty, publisher):
    publisher.answer = lambda request: None
    publisher.acknowledges = False
    publisher.trouble = "the broker did not acknowledge it"

    with pytest.raises(errors.NotSent, match="did not acknowledge") as caught:
        hasty.send_and_receive(new_request)

    assert caught.value.sent is Sent.UNKNOWN


def test_a_send_that_seemed_to_fail_is_answered_all_the_same(requester, publisher):
    publisher.acknowledges = False
    publisher.trouble = "the broker did not acknowledge it"

    assert requester.send_and_receive(new_request).status == 200


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
def test_a_record_that_is_too_large_is_said_to_be(requester, publisher, when):
    publisher.answer = lambda request: None
    setattr(publisher, when, PublishTooLarge("too large for topic 'orders'"))

    with pytest.raises(errors.BodyTooLarge, match="too large") as caught:
        requester.send_and_receive(new_request)

    assert caught.value.status == 413


def test_a_record_that_is_too_large_was_not_sent(requester, publisher):
    publisher.refused_at_once = PublishTooLarge("too large")

    with pytest.raises(errors.BodyTooLarge) as caught:
        requester.send_and_receive(new_request)

    assert caught.value.sent is Sent.NO


def test_nothing_is_published_while_redis_cannot_be_asked(
    requester, publisher, mailbox, redis_server, new_id
):
    redis_server.connected = False
    with mailbox.expecting(new_id().text):
        eventually(lambda: mailbox.trouble)

    with pytest.raises(errors.ReplyStoreUnavailable, match="cannot be reached") as caught:
        requester.send_and_receive(new_request)

    assert caught.value.sent is Sent.NO
    assert publisher.published == []


@pytest.mark.parametrize(("acknowledged", "sent"), [(True, Sent.YES), (False, Sent.UNKNOWN)])
def test_redis_going_away_during_the_wait_is_told_with_what_is_known(
    ids, mailbox, publisher, redis_server, acknowledged, sent
):
    publisher.answer = lambda request: None
    publisher.acknowledges = acknowledged
    publisher.then = lambda: setattr(redis_server, "connected", False)

    with pytest.raises(errors.ReplyStoreUnavailable) as caught:
        PatientClient(Requester(ids, mailbox, publisher), 0.3).send_and_receive(new_request)

    assert caught.value.sent is sent
    assert caught.value.correlation_id is not None


def test_redis_going_away_unnoticed_is_seen_by_the_last_look(ids, store, publisher, redis_server):
    publisher.answer = lambda request: None
    publisher.then = lambda: setattr(redis_server, "connected", False)

    with pytest.raises(errors.ReplyStoreUnavailable) as caught:
        PatientClient(Requester(ids, Mailbox(store), publisher), 0.05).send_and_receive(new_request)

    assert caught.value.sent is Sent.YES


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [(Outcome.UNUSABLE, errors.BadReply), (Outcome.FAILED, errors.ResponderError)],
)
def test_a_reply_that_is_no_response_is_a_bad_gateway(requester, publisher, outcome, ending):
    publisher.answer = lambda request: Reply(
        request.correlation_id, status=502, outcome=outcome, detail="because"
    )

    with pytest.raises(ending, match="because") as caught:
        requester.send_and_receive(new_request)

    assert (caught.value.status, caught.value.sent) == (502, Sent.YES)


def test_an_error_status_is_an_answer_like_any_other():
    reply = Reply("i", b"oh", 500)

    assert usable(reply) is reply


def test_the_publisher_may_use_a_part_of_the_deadline_only(ids, mailbox, publisher):
    given = []
    publish = publisher.publish

    def noted(request, timeout_s, on_refused):
        given.append(timeout_s)
        return publish(request, timeout_s, on_refused)

    publisher.publish = noted
    PatientClient(Requester(ids, mailbox, publisher), 10).send_and_receive(new_request)

    assert 3 < given[0] <= 5


def test_a_deadline_counts_down_from_one_reading_of_the_clock():
    deadline = Deadline.after(100)
    first = deadline.remaining_s()

    assert 50 < deadline.remaining_s() <= first <= 100
    assert Deadline.after(-1).remaining_s() < 0


# Those who take a promise


class AskingClient:
    """A client that waits for so long and then takes the promise of a reply."""

    def __init__(self, requester, wait_s, deadline_s=10.0):
        self._requester = requester
        self._terms = Terms(wait_s, deadline_s, respond_async=True)

    def ask(self):
        ticket = self._requester.issue(self._terms)
        return self._requester.exchange(
            ticket, new_request(ticket.correlation_id, ticket.deadline_ms)
        )


@pytest.fixture
def asking(ids, mailbox, publisher):
    """A client that does not wait for the reply at all."""
    publisher.answer = lambda request: None
    return AskingClient(Requester(ids, mailbox, publisher), 0)


def in_the_background(ask):
    """Begin to *ask*; return a function that waits for the end and returns or raises it."""
    return ThreadPoolExecutor(1).submit(ask).result


def test_a_promise_is_made_when_the_broker_has_the_request_and_not_before(asking, publisher):
    publisher.acknowledges = False
    end = in_the_background(asking.ask)
    eventually(lambda: publisher.publications)
    with pytest.raises(TimeoutError):
        end(0.1)
    publisher.publications[0].settle(acknowledged=True)

    assert end(10) is None


def test_nothing_is_promised_for_a_request_that_is_refused_at_once(asking, publisher):
    publisher.refused_at_once = PublishRefused("denied")

    with pytest.raises(errors.NotSent, match="denied") as caught:
        asking.ask()

    assert caught.value.sent is Sent.NO


def test_nothing_is_promised_for_a_request_that_is_refused_later(asking, publisher, mailbox):
    publisher.acknowledges = False
    end = in_the_background(asking.ask)
    eventually(lambda: publisher.publications)
    # In the order in which the publisher tells it.
    mailbox.settle(publisher.published[0].correlation_id, PublishRefused("denied"))
    publisher.publications[0].settle()

    with pytest.raises(errors.NotSent, match="denied") as caught:
        end(10)

    assert caught.value.sent is Sent.NO


def test_nothing_is_promised_when_the_broker_may_or_may_not_have_the_request(asking, publisher):
    publisher.acknowledges = False
    publisher.trouble = "the broker did not acknowledge it"

    with pytest.raises(errors.NotSent, match="did not acknowledge") as caught:
        asking.ask()

    assert caught.value.sent is Sent.UNKNOWN


def test_a_broker_that_says_nothing_until_the_deadline_is_unknown(ids, mailbox, publisher):
    publisher.answer = lambda request: None
    publisher.acknowledges = False

    with pytest.raises(errors.NotSent, match="did not acknowledge it within") as caught:
        AskingClient(Requester(ids, mailbox, publisher), 0, deadline_s=0.1).ask()

    assert caught.value.sent is Sent.UNKNOWN


def test_who_waits_first_gets_the_reply_if_it_comes(ids, mailbox, publisher):
    publisher.acknowledges = False

    reply = AskingClient(Requester(ids, mailbox, publisher), 10).ask()

    assert reply == Reply(publisher.published[0].correlation_id)


def test_who_waits_first_gets_a_promise_if_it_does_not(ids, mailbox, publisher):
    publisher.answer = lambda request: None
    began_s = time.monotonic()

    assert AskingClient(Requester(ids, mailbox, publisher), 0.1).ask() is None
    assert 0.1 <= time.monotonic() - began_s < 5


def test_a_reply_that_comes_before_the_acknowledgement_is_better_than_a_promise(
    asking, publisher, mailbox
):
    publisher.acknowledges = False
    end = in_the_background(asking.ask)
    eventually(lambda: publisher.publications)
    mailbox.settle(publisher.published[0].correlation_id, Reply("the reply"))
    publisher.publications[0].settle(acknowledged=True)

    assert end(10) == Reply("the reply")


def test_who_takes_a_promise_leaves_the_responder_more_time_than_it_waits(asking, publisher):
    before_ms = epoch_ms()
    asking.ask()

    assert publisher.published[0].deadline_ms >= before_ms + 10_000


def test_the_terms_are_in_the_id(ids, mailbox, publisher):
    requester = Requester(ids, mailbox, publisher)
    ticket = requester.issue(Terms(1, 2, owner="blue", keep_s=600))
    known = ids.read_for("blue", ticket.correlation_id)

    assert known.keep_ms == 600_000
    assert ticket.deadline_ms == known.deadline_ms
    assert 0 < ticket.wait.remaining_s() <= 1 < ticket.deadline.remaining_s() <= 2


# Waiting again


def test_who_waits_again_gets_the_reply_when_it_comes(ids, mailbox, publisher, store, new_id):
    cid = new_id(30_000)  # of another process
    end = in_the_background(
        lambda: Requester(ids, mailbox, publisher).wait_again(cid.text, 20, lambda: False)
    )
    eventually(lambda: mailbox._waiters)
    store.put_many([(cid, Reply(cid.text, b"late"))])

    assert end(10) == Reply(cid.text, b"late")
    assert not mailbox._waiters


def test_who_waits_again_does_so_for_as_long_as_was_said(ids, mailbox, publisher, new_id):
    began_s = time.monotonic()
    found = Requester(ids, mailbox, publisher).wait_again(new_id().text, 0.7, lambda: False)

    assert found is None
    assert 0.7 <= time.monotonic() - began_s < 5
    assert not mailbox._waiters


def test_who_waits_again_stops_when_the_process_does(ids, mailbox, publisher, new_id):
    finishing = threading.Event()
    end = in_the_background(
        lambda: Requester(ids, mailbox, publisher).wait_again(new_id().text, 60, finishing.is_set)
    )
    eventually(lambda: mailbox._waiters)
    finishing.set()

    assert end(10) is None


def test_who_waits_again_is_told_of_a_refusal_as_such(ids, mailbox, publisher, new_id):
    cid = new_id().text
    end = in_the_background(
        lambda: Requester(ids, mailbox, publisher).wait_again(cid, 20, lambda: False)
    )
    eventually(lambda: mailbox._waiters)
    mailbox.settle(cid, PublishRefused("denied"))

    with pytest.raises(errors.NotSent, match="denied") as caught:
        end(10)
    assert caught.value.sent is Sent.NO
