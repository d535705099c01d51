"""Hints of a real Redis: they wake who waits, and whoever misses one is only a moment late."""

import math
import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from gateway.exchange import wakeup as alarm
from gateway.exchange.mailbox import Mailbox
from rendezvous.contract import Reply
from rendezvous.correlation import CorrelationId, CorrelationIds, epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.process.watchdog import Watchdog
from rendezvous.redis_store import replies as store_module
from rendezvous.redis_store.notifications import Notifications
from rendezvous.redis_store.replies import MAX_HINTED, ReplyStore
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
def store(server: Server) -> Iterator[ReplyStore]:
    store = ReplyStore.connect(server.url, 60)
    yield store
    store.close()


@pytest.fixture
def replies() -> Ids:
    ids = CorrelationIds("a secret of these tests")

    def issue(node: str, count: int = 1) -> list[tuple[CorrelationId, Reply]]:
        cids = [ids.read(ids.issue(node, epoch_ms() + 30_000)) for _ in range(count)]
        return [(cid, Reply(cid.text)) for cid in cids]

    return issue


@pytest.fixture
def hints(store: ReplyStore) -> Iterator[Notifications]:
    hints = store.hints(NODE)
    yield hints
    hints.close()


def come(hints: Notifications, within_s: float = 5.0) -> bool:
    return bool(select.select([hints], [], [], within_s)[0])


def test_a_hint_comes_with_a_reply_and_is_taken_once(
    store: ReplyStore, hints: Notifications, replies: Ids
):
    store.put_many(replies(NODE, 2) + replies(OTHER))

    assert come(hints)
    assert hints.take()
    assert not come(hints, 0.05)


def test_no_hint_comes_for_others_or_with_more_than_a_few(
    store: ReplyStore, hints: Notifications, replies: Ids
):
    store.put_many(replies(OTHER))
    store.put_many(replies(NODE, MAX_HINTED + 1))
    assert not come(hints, 0.1)

    store.put_many(replies(NODE, MAX_HINTED))
    assert come(hints)


def test_a_connection_that_is_cut_gives_no_more_hints(hints: Notifications, server: Server):
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    assert come(hints)
    assert not hints.take()


def test_a_redis_that_is_not_there_gives_none():
    store = ReplyStore.connect(f"redis://127.0.0.1:{free_port()}/0", 60)

    with pytest.raises(StoreUnavailable, match="Redis"):
        store.hints(NODE)
    store.close()


def test_a_user_without_the_channel_stores_all_the_same(
    server: Server,
    replies: Ids,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    with Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
        store = ReplyStore.connect(f"redis://app:secret@{server.address}/0", 60)
        caplog.set_level("INFO")
        with pytest.raises(StoreUnavailable, match="the channels replied"):
            store.hints(NODE)
        for _ in range(2):
            assert store.put_many(replies(NODE)) == [store_module.Put.STORED]
        assert caplog.text.count("later without hints") == 1
        # As soon as it may, and was let be for a while.
        admin.execute_command("ACL", "SETUSER", "app", "&replied:*")
        monkeypatch.setattr(store, "_hint_from_s", -math.inf)
        hints = store.hints(NODE)
        store.put_many(replies(NODE))
        assert come(hints)
        hints.close()
        store.close()


@pytest.fixture
def mailbox(store: ReplyStore) -> Iterator[Mailbox]:
    mailbox = Mailbox(store, Watchdog("the poller of the test", 120.0), with_hints=True)
    mailbox._looks.times.note("slow", 40.0)
    mailbox.start()
    assert wait_until(lambda: listens(mailbox), 5)
    yield mailbox
    mailbox.close()


def listens(mailbox: Mailbox) -> bool:
    return mailbox._alarm is not None and mailbox._alarm.listens


def counted(store: ReplyStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list in which each look will be noted."""
    looked: list[int] = []
    fetch_many = store.fetch_many

    def noted(cids: list[str]) -> dict[str, Reply]:
        looked.append(len(cids))
        return fetch_many(cids)

    monkeypatch.setattr(store, "fetch_many", noted)
    return looked


@pytest.mark.usefixtures("patience")
def test_who_waits_is_found_by_the_hint_with_one_look(
    mailbox: Mailbox, store: ReplyStore, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    looked = counted(store, monkeypatch)
    for number in range(3):
        (answer,) = replies(mailbox.node)
        # Usual is what hints say, and nothing that a look has had to guess.
        mailbox._looks.times._usual_s["slow"] = 40.0
        with mailbox.expecting(answer[0].text, "slow") as waiter:
            threading.Timer(0.05, store.put_many, [[answer]]).start()
            assert waiter.wait(LONG_S) == answer[1]
        assert len(looked) == number + 1
        assert wait_until(lambda: mailbox._looks.are_hinted, 5)  # said once all are awake


@pytest.mark.usefixtures("patience")
def test_a_hint_that_comes_during_a_look_for_others_counts_for_whom_it_is(
    mailbox: Mailbox, store: ReplyStore, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    mailbox._looks.are_hinted = True
    first, second = replies(mailbox.node, 2)
    fetch_many = store.fetch_many

    def second_comes_meanwhile(cids: list[str]) -> dict[str, Reply]:
        found = fetch_many(cids)
        if first[0].text in found:
            store.put_many([second])
            assert wait_until(lambda: bool(select.select([hints_of(mailbox)], [], [], 0)[0]), 5)
        return found

    monkeypatch.setattr(store, "fetch_many", second_comes_meanwhile)
    with (
        mailbox.expecting(first[0].text) as one,  # of its kind nothing is learnt
        mailbox.expecting(second[0].text, "slow") as other,
    ):
        store.put_many([first])
        assert one.wait(LONG_S) == first[1]
        assert other.wait(LONG_S) == second[1]


def hints_of(mailbox: Mailbox) -> Any:
    return mailbox._alarm is not None and mailbox._alarm._hints


def test_a_lost_hint_makes_a_reply_late_and_nothing_worse(
    mailbox: Mailbox, store: ReplyStore, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    mailbox._looks.times._usual_s["fast"] = 0.02
    mailbox._looks.are_hinted = True
    monkeypatch.setattr(store_module, "MAX_HINTED", 0)
    (answer,) = replies(mailbox.node)

    with mailbox.expecting(answer[0].text, "fast") as waiter:
        store.put_many([answer])
        assert waiter.wait(LONG_S) == answer[1]
    # The next one is looked for as if there were none.
    assert wait_until(lambda: not mailbox._looks.are_hinted, 5)


def test_who_counts_on_a_hint_does_not_call_the_poller_before(
    mailbox: Mailbox, replies: Ids, monkeypatch: pytest.MonkeyPatch
):
    called: list[object] = []
    monkeypatch.setattr(mailbox, "_call_poller", called.append)
    mailbox._looks.are_hinted = True
    mailbox._looks.times._usual_s["fast"] = 0.1
    (answer,) = replies(mailbox.node)

    with mailbox.expecting(answer[0].text, "fast") as waiter:
        assert not called
        assert waiter.wait(0.3) is None
        assert called == [waiter]


@pytest.mark.usefixtures("patience")
def test_after_a_new_start_of_redis_there_are_hints_again(
    mailbox: Mailbox,
    store: ReplyStore,
    server: EmbeddedRedis,
    replies: Ids,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(alarm, "ASK_AGAIN_S", 0.1)
    mailbox._looks.are_hinted = True
    with Redis.from_url(server.url) as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    assert wait_until(lambda: not mailbox._looks.are_hinted, 5)
    assert wait_until(lambda: listens(mailbox), 5)

    (answer,) = replies(mailbox.node)
    with mailbox.expecting(answer[0].text, "slow") as waiter:
        store.put_many([answer])
        assert waiter.wait(LONG_S) == answer[1]
