"""Requester: register, publish, wait, and report truthfully whether the request was sent."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway import problems
from gateway.exchange.pending_request import Deadline, PendingRequest, WaitOptions
from gateway.exchange.requester import Requester, usable
from gateway.exchange.waiting.mailbox import Mailbox
from gateway.exchange.waiting.partition_reader import ReplyAddress
from gateway.exchange.waiting.poller import NoStoredReplies, Poller
from gateway.exchange.waiting.reply_keys import ReplyKeys
from gateway.problems import Sent
from rendezvous.contract import Outcome, Reply, Request
from rendezvous.correlation import epoch_ms
from rendezvous.errors import UnusableReply
from rendezvous.kafka_client.partitioning import murmur2_partition
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge
from tests.fakes import WaitingClient, eventually, record_calls


@pytest.fixture
def requester(ids, mailbox, poller, publisher):
    return Requester(ids, mailbox, poller, publisher)


@pytest.fixture
def client(requester):
    return WaitingClient(requester, 10)


@pytest.fixture
def hasty(requester):
    """A client that waits 0.1 s."""
    return WaitingClient(requester, 0.1)


@pytest.fixture
def no_reply(publisher):
    publisher.responder = lambda request: None


def new_request(correlation_id, deadline_ms):
    return Request(correlation_id, "orders", "replies", deadline_ms, b"body")


def test_the_reply_to_a_request_is_returned(client, publisher):
    publisher.responder = lambda request: Reply.to(request, b"answer", status=201)

    reply = client.send_and_receive(new_request)

    (request,) = publisher.published
    assert reply == Reply.to(request, b"answer", status=201)


def test_the_id_names_this_process_and_the_deadline_of_the_request(client, publisher, ids, mailbox):
    before_ms = epoch_ms()
    client.send_and_receive(new_request)

    (request,) = publisher.published
    known = ids.read(request.correlation_id)
    assert known.node == mailbox.node
    assert known.deadline_ms == request.deadline_ms
    assert before_ms + 10_000 <= request.deadline_ms <= epoch_ms() + 10_000


def test_the_id_contains_the_owner_and_the_time_to_keep_the_reply(requester, ids):
    correlation_id, deadline_ms = requester.issue_id(WaitOptions(1, 2, owner="blue"), keep_s=600)

    known = ids.read_for(correlation_id, "blue")
    assert known.keep_ms == 600_000
    assert known.deadline_ms == deadline_ms


def test_a_request_is_registered_before_it_is_published(hasty, mailbox, publisher, no_reply):
    registered = []
    publisher.after_publish = lambda: registered.append(
        publisher.published[-1].correlation_id in mailbox._waiters
    )

    with pytest.raises(problems.ReplyTimeout):
        hasty.send_and_receive(new_request)

    assert registered == [True]


def test_no_waiter_is_left_after_the_exchange(client, hasty, publisher, mailbox):
    client.send_and_receive(new_request)
    publisher.responder = lambda request: None
    with pytest.raises(problems.ReplyTimeout):
        hasty.send_and_receive(new_request)
    publisher.refused_at_once = PublishRefused("no")
    with pytest.raises(problems.NotSent):
        hasty.send_and_receive(new_request)

    assert not mailbox._waiters


@pytest.mark.parametrize(("acknowledged", "sent"), [(True, Sent.YES), (False, Sent.UNKNOWN)])
def test_a_timeout_reports_whether_the_request_was_sent(
    hasty, publisher, no_reply, acknowledged, sent
):
    publisher.acknowledges = acknowledged

    with pytest.raises(problems.ReplyTimeout) as caught:
        hasty.send_and_receive(new_request)

    assert caught.value.sent is sent
    assert caught.value.status == 503
    assert caught.value.title == "Gateway Timeout"
    assert caught.value.correlation_id == publisher.published[0].correlation_id
    assert "0.1 s" in caught.value.detail


def test_the_status_of_a_timeout_is_configurable(ids, mailbox, poller, publisher, no_reply):
    with pytest.raises(problems.ReplyTimeout) as caught:
        WaitingClient(Requester(ids, mailbox, poller, publisher, 504), 0.05).send_and_receive(
            new_request
        )

    assert caught.value.status == 504


def test_a_timeout_is_raised_at_the_deadline(requester, no_reply):
    began_s = time.monotonic()

    with pytest.raises(problems.ReplyTimeout):
        WaitingClient(requester, 0.3).send_and_receive(new_request)

    assert 0.3 <= time.monotonic() - began_s < 5


def test_a_reply_that_only_the_last_poll_finds_is_returned(ids, store, publisher):
    idle = Poller(store, Mailbox())  # never started: it finds nothing

    reply = WaitingClient(Requester(ids, idle._mailbox, idle, publisher), 0.05).send_and_receive(
        new_request
    )

    assert reply.correlation_id == publisher.published[0].correlation_id


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
@pytest.mark.parametrize(
    ("refusal", "problem", "status"),
    [
        (PublishRefused("denied"), problems.NotSent, 503),
        (PublishTooLarge("denied"), problems.BodyTooLarge, 413),
    ],
)
def test_a_refused_request_was_not_sent_and_does_not_wait_for_the_deadline(
    client, publisher, no_reply, when, refusal, problem, status
):
    setattr(publisher, when, refusal)
    began_s = time.monotonic()

    with pytest.raises(problem, match="denied") as caught:
        client.send_and_receive(new_request)

    assert (caught.value.sent, caught.value.status) == (Sent.NO, status)
    assert caught.value.correlation_id is not None
    assert time.monotonic() - began_s < 8


def test_a_failed_send_that_may_still_be_appended_is_unknown(hasty, publisher, no_reply):
    publisher.acknowledges = False
    publisher.failure = "the broker did not acknowledge it"

    with pytest.raises(problems.NotSent, match="did not acknowledge") as caught:
        hasty.send_and_receive(new_request)

    assert caught.value.sent is Sent.UNKNOWN


def test_a_failed_send_that_was_appended_still_gets_its_reply(client, publisher):
    publisher.acknowledges = False
    publisher.failure = "the broker did not acknowledge it"

    assert client.send_and_receive(new_request).status == 200


def test_nothing_is_published_while_redis_cannot_be_reached(
    client, publisher, mailbox, poller, redis_server, new_id
):
    redis_server.connected = False
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: poller.store_error)

    with pytest.raises(problems.ReplyStoreUnavailable, match="cannot be reached") as caught:
        client.send_and_receive(new_request)

    assert caught.value.sent is Sent.NO
    assert publisher.published == []


@pytest.mark.parametrize(("acknowledged", "sent"), [(True, Sent.YES), (False, Sent.UNKNOWN)])
def test_a_redis_failure_during_the_wait_reports_whether_the_request_was_sent(
    requester, publisher, redis_server, no_reply, acknowledged, sent
):
    publisher.acknowledges = acknowledged
    publisher.after_publish = lambda: setattr(redis_server, "connected", False)

    with pytest.raises(problems.ReplyStoreUnavailable) as caught:
        WaitingClient(requester, 0.3).send_and_receive(new_request)

    assert caught.value.sent is sent
    assert caught.value.correlation_id is not None


def test_the_last_poll_finds_a_redis_failure_that_the_poller_has_not_seen(
    ids, store, publisher, redis_server, no_reply
):
    publisher.after_publish = lambda: setattr(redis_server, "connected", False)
    idle = Poller(store, Mailbox())  # never started

    with pytest.raises(problems.ReplyStoreUnavailable) as caught:
        WaitingClient(Requester(ids, idle._mailbox, idle, publisher), 0.05).send_and_receive(
            new_request
        )

    assert caught.value.sent is Sent.YES


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [(Outcome.UNUSABLE, problems.BadReply), (Outcome.FAILED, problems.ResponderError)],
)
def test_a_reply_that_is_no_http_response_is_a_bad_gateway(client, publisher, outcome, problem):
    publisher.responder = lambda request: Reply(
        request.correlation_id, status=502, outcome=outcome, detail="because"
    )

    with pytest.raises(problem, match="because") as caught:
        client.send_and_receive(new_request)

    assert (caught.value.status, caught.value.sent) == (502, Sent.YES)


def test_a_reply_with_an_error_status_is_usable():
    reply = Reply("i", b"oh", 500)

    assert usable(reply) is reply


def test_the_publisher_gets_only_a_share_of_the_deadline(client, publisher, monkeypatch):
    calls = record_calls(monkeypatch, publisher, "publish")
    client.send_and_receive(new_request)

    ((_, timeout_s, _),) = calls
    assert 3 < timeout_s <= 5


def test_a_deadline_counts_down():
    deadline = Deadline.after(100)
    first = deadline.remaining_s()

    assert 50 < deadline.remaining_s() <= first <= 100
    assert Deadline.after(-1).remaining_s() < 0


def test_a_pending_request_has_one_deadline_for_the_client_and_one_for_the_responder():
    pending = PendingRequest.start(new_request("i", 0), WaitOptions(1, 2))

    assert 0 < pending.wait.remaining_s() <= 1 < pending.deadline.remaining_s() <= 2


# Clients that accept a 202


class AsyncClient:
    """A client that waits *wait_s* and then accepts a 202."""

    def __init__(self, requester, wait_s, deadline_s=10.0):
        self._requester = requester
        self._options = WaitOptions(wait_s, deadline_s, respond_async=True)

    def send(self):
        """Return the reply, or None for a 202."""
        request = new_request(*self._requester.issue_id(self._options))
        return self._requester.exchange(PendingRequest.start(request, self._options))


@pytest.fixture
def async_client(requester, no_reply):
    return AsyncClient(requester, 0)


def in_the_background(call):
    """Start *call* in a thread; return a function that waits for its result."""
    return ThreadPoolExecutor(1).submit(call).result


def test_a_202_is_sent_once_the_broker_has_acknowledged_the_request(async_client, publisher):
    publisher.acknowledges = False
    result = in_the_background(async_client.send)
    eventually(lambda: publisher.publications)
    with pytest.raises(TimeoutError):
        result(0.1)
    publisher.publications[0].settle(acknowledged=True)

    assert result(10) is None


def test_no_202_is_sent_for_a_request_that_is_refused_at_once(async_client, publisher):
    publisher.refused_at_once = PublishRefused("denied")

    with pytest.raises(problems.NotSent, match="denied") as caught:
        async_client.send()

    assert caught.value.sent is Sent.NO


def test_no_202_is_sent_for_a_request_that_is_refused_later(async_client, publisher, mailbox):
    publisher.acknowledges = False
    result = in_the_background(async_client.send)
    eventually(lambda: publisher.publications)
    # In the order of the publisher.
    mailbox.settle(publisher.published[0].correlation_id, PublishRefused("denied"))
    publisher.publications[0].settle()

    with pytest.raises(problems.NotSent, match="denied") as caught:
        result(10)

    assert caught.value.sent is Sent.NO


def test_no_202_is_sent_for_a_request_that_may_not_be_in_kafka(async_client, publisher):
    publisher.acknowledges = False
    publisher.failure = "the broker did not acknowledge it"

    with pytest.raises(problems.NotSent, match="did not acknowledge") as caught:
        async_client.send()

    assert caught.value.sent is Sent.UNKNOWN


def test_no_202_is_sent_when_the_broker_does_not_acknowledge_before_the_deadline(
    requester, publisher, no_reply
):
    publisher.acknowledges = False

    with pytest.raises(problems.NotSent, match="did not acknowledge it within") as caught:
        AsyncClient(requester, 0, deadline_s=0.1).send()

    assert caught.value.sent is Sent.UNKNOWN


def test_a_client_that_waits_before_the_202_gets_a_reply_that_arrives(requester, publisher):
    publisher.acknowledges = False

    assert AsyncClient(requester, 10).send() == Reply(publisher.published[0].correlation_id)


def test_a_client_that_waits_before_the_202_gets_it_after_the_wait(requester, no_reply):
    began_s = time.monotonic()

    assert AsyncClient(requester, 0.1).send() is None
    assert 0.1 <= time.monotonic() - began_s < 5


def test_a_reply_that_arrives_before_the_acknowledgement_replaces_the_202(
    async_client, publisher, mailbox
):
    publisher.acknowledges = False
    result = in_the_background(async_client.send)
    eventually(lambda: publisher.publications)
    mailbox.settle(publisher.published[0].correlation_id, Reply("the reply"))
    publisher.publications[0].settle(acknowledged=True)

    assert result(10) == Reply("the reply")


def test_the_deadline_of_the_responder_may_be_later_than_the_wait(async_client, publisher):
    before_ms = epoch_ms()
    async_client.send()

    assert publisher.published[0].deadline_ms >= before_ms + 10_000


# Waiting again


def test_waiting_again_returns_a_reply_that_arrives(requester, mailbox, store, new_id):
    cid = new_id(30_000)  # of another process
    result = in_the_background(lambda: requester.wait_again(cid.text, 20, lambda: False))
    eventually(lambda: mailbox._waiters)
    store.put_many([(cid, Reply(cid.text, b"late"))])

    assert result(10) == Reply(cid.text, b"late")
    assert not mailbox._waiters


def test_waiting_again_ends_at_its_timeout(requester, mailbox, new_id):
    began_s = time.monotonic()

    assert requester.wait_again(new_id().text, 0.7, lambda: False) is None
    assert 0.7 <= time.monotonic() - began_s < 5
    assert not mailbox._waiters


def test_waiting_again_ends_when_the_process_stops(requester, mailbox, new_id):
    stopping = threading.Event()
    result = in_the_background(lambda: requester.wait_again(new_id().text, 60, stopping.is_set))
    eventually(lambda: mailbox._waiters)
    stopping.set()

    assert result(10) is None


def test_waiting_again_for_a_request_that_is_refused_reports_that_it_was_not_sent(
    requester, mailbox, new_id
):
    cid = new_id().text
    result = in_the_background(lambda: requester.wait_again(cid, 20, lambda: False))
    eventually(lambda: mailbox._waiters)
    mailbox.settle(cid, PublishRefused("denied"))

    with pytest.raises(problems.NotSent, match="denied") as caught:
        result(10)
    assert caught.value.sent is Sent.NO


def test_while_redis_takes_no_writes_no_id_is_issued(client, publisher, poller):
    poller.write_error = "Redis takes no writes: Redis is out of memory"
    with pytest.raises(problems.ReplyStoreUnavailable, match="takes no writes") as caught:
        client.send_and_receive(new_request)

    assert caught.value.sent is Sent.NO
    assert publisher.published == []


# Replies that come straight from Kafka


class FakeAddresses:
    """Addresses in partition 7, while it is read."""

    def __init__(self):
        self.keys = ReplyKeys(7, [12], "0a1b2c3d")
        self.is_ready = True
        self.is_read = True

    def await_ready(self, timeout_s):
        return self.is_ready

    def take(self):
        return ReplyAddress(7, self.keys.take(), self.keys) if self.is_read else None


@pytest.fixture
def addresses():
    return FakeAddresses()


@pytest.fixture
def direct(ids, mailbox, poller, publisher, addresses):
    """A requester whose replies come straight from Kafka."""
    return Requester(ids, mailbox, poller, publisher, addresses=addresses)


@pytest.fixture
def no_redis(poller):
    poller.store_error = "Redis cannot be reached: start it or correct REDIS_URL"


def straight_to(mailbox):
    """Return a responder whose replies settle their waiters without Redis."""
    return lambda request: mailbox.settle(request.correlation_id, Reply.to(request)) and None


def test_a_request_has_the_partition_and_a_key_of_its_address(direct, publisher):
    WaitingClient(direct, 10).send_and_receive(new_request)

    (request,) = publisher.published
    key, _, headers = request.encode()
    assert request.reply_partition == 7
    assert ("reply-partition", b"7") in headers
    assert murmur2_partition(key, 12) == 7


def test_a_record_key_is_used_again_after_a_reply_but_not_after_an_unusable_one(direct, publisher):
    client = WaitingClient(direct, 10)
    client.send_and_receive(new_request)
    publisher.responder = lambda request: Reply.unusable(
        UnusableReply(request.correlation_id, "the reply was dropped")
    )
    with pytest.raises(problems.BadReply):
        client.send_and_receive(new_request)
    publisher.responder = Reply.to
    client.send_and_receive(new_request)

    first, second, third = (request.encode()[0] for request in publisher.published)
    assert first == second
    assert third != second  # without headers, a redelivery of the unusable reply names it


def test_a_request_with_a_key_of_its_own_keeps_it_and_gets_the_partition(direct, publisher):
    def keyed_request(correlation_id, deadline_ms):
        return replace(new_request(correlation_id, deadline_ms), key=b"customer 5")

    WaitingClient(direct, 10).send_and_receive(keyed_request)

    key, _, headers = publisher.published[0].encode()
    assert key == b"customer 5"
    assert ("reply-partition", b"7") in headers


def test_while_no_partition_is_read_the_key_is_the_id(direct, publisher, addresses):
    addresses.is_read = addresses.is_ready = False
    WaitingClient(direct, 10).send_and_receive(new_request)

    (request,) = publisher.published
    key, _, headers = request.encode()
    assert key == request.correlation_id.encode()
    assert "reply-partition" not in dict(headers)


def test_a_key_is_used_again_once_the_reply_has_come(direct, publisher):
    client = WaitingClient(direct, 10)
    client.send_and_receive(new_request)
    client.send_and_receive(new_request)

    first, second = publisher.published
    assert first.reply_key == second.reply_key


def test_the_key_of_a_request_without_a_reply_is_not_used_again(direct, publisher, no_reply):
    for _ in range(2):
        with pytest.raises(problems.ReplyTimeout):
            WaitingClient(direct, 0.05).send_and_receive(new_request)
    publisher.responder = Reply.to
    WaitingClient(direct, 10).send_and_receive(new_request)

    assert len({request.reply_key for request in publisher.published}) == 3


@pytest.mark.parametrize("has_key", [False, True])
@pytest.mark.parametrize("is_read", [False, True])
def test_redis_decides_which_reply_is_the_first_if_others_may_ask_for_it(
    direct, publisher, mailbox, addresses, is_read, has_key
):
    shared: list[tuple[str, bool]] = []
    addresses.is_read = addresses.is_ready = is_read
    publisher.after_publish = lambda: shared.extend(
        (waiter.topic, waiter.is_shared) for waiter in mailbox.waiters()
    )
    options = WaitOptions(0, 10, respond_async=True)
    request = new_request(*direct.issue_id(options))
    publisher.responder = lambda request: None
    direct.exchange(PendingRequest.start(request, options, has_key=has_key))

    assert shared == [("orders", has_key or not is_read)]


@pytest.mark.usefixtures("no_redis")
def test_requests_without_a_key_are_answered_although_redis_fails(direct, publisher, mailbox):
    publisher.responder = straight_to(mailbox)

    assert WaitingClient(direct, 10).send_and_receive(new_request).status == 200


@pytest.mark.usefixtures("no_redis")
@pytest.mark.parametrize(
    ("options", "keep_s"), [(WaitOptions(1, 1, respond_async=True), 0), (WaitOptions(1, 1), 60)]
)
def test_asynchronous_requests_and_those_with_a_key_are_rejected_while_redis_fails(
    direct, options, keep_s
):
    with pytest.raises(problems.ReplyStoreUnavailable, match="cannot be reached") as caught:
        direct.issue_id(options, keep_s)

    assert caught.value.sent is Sent.NO


@pytest.mark.usefixtures("no_redis")
def test_while_redis_fails_and_no_partition_is_read_requests_are_rejected(direct, addresses):
    addresses.is_read = addresses.is_ready = False

    with pytest.raises(problems.ReplyStoreUnavailable) as caught:
        direct.issue_id(WaitOptions(1, 1))

    assert caught.value.sent is Sent.NO


def test_nothing_is_published_if_the_reader_stops_while_redis_takes_no_writes(
    direct, addresses, poller, publisher
):
    poller.write_error = "Redis takes no writes: Redis is out of memory"
    options = WaitOptions(1, 1)
    request = new_request(*direct.issue_id(options))
    addresses.is_read = False

    with pytest.raises(problems.ReplyStoreUnavailable, match="takes no writes") as caught:
        direct.exchange(PendingRequest.start(request, options))

    assert caught.value.sent is Sent.NO
    assert publisher.published == []


def test_without_redis_a_reply_that_does_not_come_is_a_timeout(
    ids, mailbox, publisher, addresses, no_reply
):
    requester = Requester(ids, mailbox, NoStoredReplies(), publisher, addresses=addresses)

    with pytest.raises(problems.ReplyTimeout) as caught:
        WaitingClient(requester, 0.05).send_and_receive(new_request)

    assert caught.value.sent is Sent.YES
