"""Notifications of a real Redis: each wakes the poller, and a lost one delays a reply a little."""

import math
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from gateway.exchange import wakeup
from gateway.exchange.mailbox import Mailbox
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationId, CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store import notifications as notifications_module
from rendezvous.redis_store.client import open_redis
from rendezvous.redis_store.notifications import MAX_NOTIFIED, Notifications
from rendezvous.redis_store.replies import Put, ReplyStore
from tests.fakes import record_calls
from tools.devstack.embedded_redis import EmbeddedRedis
from tools.devstack.ports import free_port
from tools.devstack.process.server import Server
from tools.devstack.waiting import wait_until

pytestmark = pytest.mark.integration

NODE, OTHER = "0a1b2c3d", "ffffffff"
LONG_S = 20.0
Ids = Callable[..., list[tuple[CorrelationId, Reply]]]


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis(server: Server) -> Iterator[Redis]:
    client = open_redis(server.url)
    yield client
    client.close()


@pytest.fixture
def store(redis: Redis) -> ReplyStore:
    return ReplyStore(redis, 60)


@pytest.fixture
def replies() -> Ids:
    ids = CorrelationIds("a secret of these tests")

    def issue(node: str, count: int = 1) -> list[tuple[CorrelationId, Reply]]:
        cids = [ids.read(ids.issue(node, epoch_ms() + 30_000)) for _ in range(count)]
        return [(cid, Reply(cid.text)) for cid in cids]

    return issue


@pytest.fixture
def notifications(redis: Redis) -> Iterator[Notifications]:
    notifications = Notifications(redis, NODE)
    yield notifications
    notifications.close()


def arrived(notifications: Notifications, within_s: float = 5.0) -> bool:
    return bool(select.select([notifications], [], [], within_s)[0])


def test_a_stored_reply_notifies_its_node(
    store: ReplyStore, notifications: Notifications, replies: Ids
):
    store.put_many(replies(NODE, 2) + replies(OTHER))

    assert arrived(notifications)
    assert notifications.take()
    assert not arrived(notifications, 0.05)


def test_replies_to_other_nodes_and_large_batches_do_not_notify(
    store: ReplyStore, notifications: Notifications, replies: Ids
):
    store.put_many(replies(OTHER))
    store.put_many(replies(NODE, MAX_NOTIFIED + 1))
    assert not arrived(notifications, 0.1)

    store.put_many(replies(NODE, MAX_NOTIFIED))
    assert arrived(notifications)


def test_a_subscription_that_the_server_closes_has_ended(
    notifications: Notifications, server: Server
):
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    assert arrived(notifications)
    assert not notifications.take()


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="needs the options of Linux")
def test_a_subscription_probes_a_silent_connection(notifications: Notifications):
    """A subscription only receives, so it would not notice that a NAT has dropped it."""
    duplicate = socket.socket(fileno=os.dup(notifications.fileno()))
    with closing(duplicate) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s, interval_s, probes = (
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )

    assert idle_s + interval_s * probes <= 60


def test_subscribing_to_an_unreachable_redis_raises_store_unavailable():
    url = f"redis://127.0.0.1:{free_port()}/0"
    with closing(open_redis(url)) as redis, pytest.raises(StoreUnavailable, match="Redis"):
        Notifications(redis, NODE)


def test_replies_are_stored_for_a_user_without_the_channel(
    server: Server, replies: Ids, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    with Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
        redis = open_redis(f"redis://app:secret@{server.address}/0")
        store = ReplyStore(redis, 60)
        caplog.set_level("INFO")
        with pytest.raises(StoreUnavailable, match="the channels replied"):
            Notifications(redis, NODE)
        for _ in range(2):
            assert store.put_many(replies(NODE)) == [Put.STORED]
        assert caplog.text.count("later without notifications") == 1
        # Once the user has the channel, after the pause:
        admin.execute_command("ACL", "SETUSER", "app", "&replied:*")
        monkeypatch.setattr(store._notifier, "_resume_s", -math.inf)
        with closing(Notifications(redis, NODE)) as notifications:
            store.put_many(replies(NODE))
            assert arrived(notifications)
        redis.close()


@pytest.fixture
def mailbox(store: ReplyStore, redis: Redis) -> Iterator[Mailbox]:
    mailbox = Mailbox(
        store,
        Watchdog("the poller of the test", 120.0),
        subscribe=lambda node: Notifications(redis, node),
    )
    mailbox._schedule.latencies.record("slow", 40.0)
    mailbox.start()
    assert wait_until(lambda: is_subscribed(mailbox), 5)
    yield mailbox
    mailbox.close()


def is_subscribed(mailbox: Mailbox) -> bool:
    return mailbox._wakeup is not None and mailbox._wakeup.is_subscribed


@pytest.mark.usefixtures("no_timed_polls")
def test_a_notified_reply_takes_one_poll(
    mailbox: Mailbox, store: ReplyStore, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    polls = record_calls(monkeypatch, store, "fetch_many")
    for number in range(3):
        (reply,) = replies(mailbox.node)
        # Each request starts with the same learned latency.
        mailbox._schedule.latencies._latency_s["slow"] = 40.0
        with mailbox.waiting_for(reply[0].text, "slow") as waiter:
            threading.Timer(0.05, store.put_many, [[reply]]).start()
            assert waiter.wait(LONG_S) == reply[1]
        assert len(polls) == number + 1
        assert wait_until(lambda: mailbox._schedule.is_notified, 5)


@pytest.mark.usefixtures("no_timed_polls")
def test_a_notification_during_a_poll_causes_another_poll(
    mailbox: Mailbox, store: ReplyStore, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    mailbox._schedule.is_notified = True
    first, second = replies(mailbox.node, 2)
    fetch_many = store.fetch_many

    def put_second_meanwhile(cids: list[str]) -> dict[str, Reply]:
        found = fetch_many(cids)
        if first[0].text in found:
            store.put_many([second])
            assert wait_until(
                lambda: bool(select.select([notifications_of(mailbox)], [], [], 0)[0]), 5
            )
        return found

    monkeypatch.setattr(store, "fetch_many", put_second_meanwhile)
    with (
        mailbox.waiting_for(first[0].text) as one,  # without a learned latency
        mailbox.waiting_for(second[0].text, "slow") as other,
    ):
        store.put_many([first])
        assert one.wait(LONG_S) == first[1]
        assert other.wait(LONG_S) == second[1]


def notifications_of(mailbox: Mailbox) -> Any:
    return mailbox._wakeup is not None and mailbox._wakeup._notifications


def test_a_lost_notification_only_delays_the_reply(
    mailbox: Mailbox, store: ReplyStore, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    mailbox._schedule.latencies._latency_s["fast"] = 0.02
    mailbox._schedule.is_notified = True
    monkeypatch.setattr(notifications_module, "MAX_NOTIFIED", 0)
    (reply,) = replies(mailbox.node)

    with mailbox.waiting_for(reply[0].text, "fast") as waiter:
        store.put_many([reply])
        assert waiter.wait(LONG_S) == reply[1]
    # The next reply is polled for as without notifications.
    assert wait_until(lambda: not mailbox._schedule.is_notified, 5)


def test_a_waiter_that_expects_a_notification_wakes_the_poller_late(
    mailbox: Mailbox, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    called: list[object] = []
    monkeypatch.setattr(mailbox, "_schedule_poll", called.append)
    mailbox._schedule.is_notified = True
    mailbox._schedule.latencies._latency_s["fast"] = 0.1
    (reply,) = replies(mailbox.node)

    with mailbox.waiting_for(reply[0].text, "fast") as waiter:
        assert not called
        assert waiter.wait(0.3) is None
        assert called == [waiter]


@pytest.mark.usefixtures("no_timed_polls")
def test_notifications_continue_after_the_subscription_was_closed(
    mailbox: Mailbox,
    store: ReplyStore,
    server: EmbeddedRedis,
    replies: Ids,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(wakeup, "RESUBSCRIBE_PAUSE_S", 0.1)
    mailbox._schedule.is_notified = True
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    assert wait_until(lambda: not mailbox._schedule.is_notified, 5)
    assert wait_until(lambda: is_subscribed(mailbox), 5)

    (reply,) = replies(mailbox.node)
    with mailbox.waiting_for(reply[0].text, "slow") as waiter:
        store.put_many([reply])
        assert waiter.wait(LONG_S) == reply[1]
