"""Poller: one poll for all waiters, with backoff; it survives failures and reports Redis's."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from redis import exceptions as redis_errors

from gateway.exchange.waiting.poller import (
    FALLBACK_PER_AGE,
    INTERVAL_PER_AGE,
    MAX_FALLBACK_S,
    MAX_INTERVAL_S,
    MIN_FALLBACK_S,
    MIN_INTERVAL_S,
    Poller,
)
from gateway.exchange.waiting.waiter import Waiter
from rendezvous.contract import Reply
from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable, WritesRefused
from rendezvous.process.watchdog import EXIT_CODE, Watchdog
from rendezvous.redis_store.replies import node_of
from tests.fakes import eventually, raising, record_calls


@pytest.fixture
def idle(store, mailbox):
    """A poller that is not started."""
    return Poller(store, mailbox)


@pytest.fixture
def started(store, mailbox):
    """Start a poller; called after the store was changed."""
    with ExitStack() as stack:

        def start(*args, **options):
            poller = Poller(store, mailbox, *args, **options)
            poller.start()
            stack.callback(poller.close)
            return poller

        yield start


def failing(store, monkeypatch, failures):
    """Let polls fail with *failures* for all nodes, one each; None is success."""
    fetch, failures = store.fetch_available, iter(failures)

    def fetch_or_fail(cids):
        failure = next(failures, None)
        if failure is None:
            return fetch(cids)
        if not isinstance(failure, StoreUnavailable):
            raise failure
        return {}, dict.fromkeys(map(node_of, cids), failure)

    monkeypatch.setattr(store, "fetch_available", fetch_or_fail)


def failing_for(store, monkeypatch, *nodes):
    """Let polls fail for *nodes*; return the list to which each poll adds its ids."""
    fetch, polls = store.fetch_available, []

    def fetch_or_fail(cids):
        polls.append(cids)
        found, _ = fetch([cid for cid in cids if node_of(cid) not in nodes])
        failed = {node_of(cid) for cid in cids} & {*nodes}
        return found, dict.fromkeys(failed, StoreUnavailable("the shard hangs"))

    monkeypatch.setattr(store, "fetch_available", fetch_or_fail)
    return polls


@pytest.mark.parametrize("is_early", [True, False])
def test_a_reply_settles_its_waiter_whether_it_arrives_before_or_after_it(
    mailbox, poller, store, new_id, is_early
):
    cid = new_id()
    if is_early:
        store.put_many([(cid, Reply(cid.text, b"here"))])
    with mailbox.waiting_for(cid.text) as waiter:
        if not is_early:
            store.put_many([(cid, Reply(cid.text, b"here"))])
        assert waiter.wait(10) == Reply(cid.text, b"here")


def test_each_waiter_gets_its_own_reply(mailbox, poller, store, new_id):
    cids = [new_id(30_000) for _ in range(40)]

    def wait(cid):
        with mailbox.waiting_for(cid.text) as waiter:
            return waiter.wait(10)

    with ThreadPoolExecutor(len(cids)) as clients:
        replies = clients.map(wait, cids)
        for cid in reversed(cids):
            store.put_many([(cid, Reply(cid.text, cid.text.encode()))])

    assert list(replies) == [Reply(cid.text, cid.text.encode()) for cid in cids]


def test_one_poll_covers_all_waiters(mailbox, poller, store, new_id, monkeypatch):
    polls = record_calls(monkeypatch, store, "fetch_available")
    cids = [new_id().text for _ in range(3)]

    with ExitStack() as stack:
        for cid in cids:
            stack.enter_context(mailbox.waiting_for(cid))
        eventually(lambda: ([mailbox.node, *cids],) in polls)


def test_redis_is_not_polled_while_no_request_waits(mailbox, started, store, new_id, monkeypatch):
    polls = record_calls(monkeypatch, store, "fetch_available")
    started()
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: polls)
    time.sleep(0.05)  # one more poll may be running
    before = len(polls)
    time.sleep(4 * MAX_INTERVAL_S)

    assert len(polls) == before
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: len(polls) > before)


def test_a_new_waiter_wakes_an_idle_poller(mailbox, started, store, new_id, monkeypatch):
    monkeypatch.setattr("gateway.exchange.waiting.poller.IDLE_S", 30.0)
    poller = started()
    eventually(lambda: poller._sleeps_until_s - time.monotonic() > 20)
    cid = new_id(30_000)
    store.put_many([(cid, Reply(cid.text))])

    with mailbox.waiting_for(cid.text) as waiter:
        assert waiter.wait(10) is not None


def test_a_new_waiter_whose_reply_comes_straight_does_not_wake_the_poller(
    mailbox, started, store, new_id, monkeypatch
):
    monkeypatch.setattr("gateway.exchange.waiting.poller.IDLE_S", 30.0)
    polls = record_calls(monkeypatch, store, "fetch_available")
    poller = started(comes_straight=lambda waiter: waiter.topic == "straight")
    eventually(lambda: poller._sleeps_until_s - time.monotonic() > 20)
    with mailbox.waiting_for(new_id().text, "straight"):
        assert not poller._wake.is_set()
    assert not polls
    with mailbox.waiting_for(new_id().text, "detour"):
        eventually(lambda: polls)


def test_polling_for_one_id_queries_the_store(idle, store, redis_server, new_id):
    cid = new_id()
    assert idle.poll(cid.text) is None
    store.put_many([(cid, Reply(cid.text))])
    assert idle.poll(cid.text) == Reply(cid.text)
    redis_server.connected = False

    with pytest.raises(StoreUnavailable):
        idle.poll(cid.text)


def test_only_the_waiters_whose_replies_were_found_first_here_are_reported(
    mailbox, store, new_id, monkeypatch
):
    found: list[Waiter] = []
    mine, settled = new_id(), new_id()
    poller = Poller(store, mailbox, on_found=found.append)
    with mailbox.waiting_for(mine.text) as waiter, mailbox.waiting_for(settled.text):
        store.put_many([(cid, Reply(cid.text)) for cid in (mine, settled)])
        mailbox.settle(settled.text, Reply(settled.text))
        poller._poll([mine.text, settled.text])

    assert found == [waiter]


def test_closing_ends_an_idle_poller(started):
    poller = started()
    poller.close()

    assert not poller._thread.is_alive()


# Backoff


def polls_at(poller: Poller, topic: str, until_s: float) -> list[float]:
    """Return the ages at which a lone waiter is polled for, up to *until_s*, each poll at once."""
    waiter, ages = Waiter("id", topic), []
    poller._polled_s = waiter.since_s
    while (due_s := poller._due_s(waiter)) - waiter.since_s < until_s:
        ages.append(due_s - waiter.since_s)
        poller._polled_s = due_s
    return ages


def test_a_reply_that_is_expected_in_redis_is_polled_for_soon_and_less_often_with_age(
    idle,
):
    ages_s = polls_at(idle, "echo", 30.0)
    intervals_s = [after - before for before, after in zip([0.0, *ages_s], ages_s, strict=False)]

    assert intervals_s[0] == pytest.approx(MIN_INTERVAL_S)
    assert intervals_s == pytest.approx(sorted(intervals_s))
    assert max(intervals_s) == pytest.approx(MAX_INTERVAL_S)
    # A reply after 5, 50 and 500 ms, and after 30 s.
    counts = [sum(age_s < late_s for age_s in ages_s) for late_s in (0.005, 0.05, 0.5, 30.0)]
    assert counts[0] <= 3
    assert counts[1] <= 20
    assert counts[2] <= 45
    assert counts[3] <= 640


def test_a_reply_that_is_expected_straight_is_hardly_polled_for(store, mailbox):
    poller = Poller(store, mailbox, comes_straight=lambda waiter: True)
    ages_s = polls_at(poller, "echo", 10.0)

    assert ages_s[0] == pytest.approx(MIN_FALLBACK_S)
    assert len(ages_s) <= 13
    assert ages_s[-1] - ages_s[-2] == pytest.approx(MAX_FALLBACK_S)


def test_the_interval_is_a_share_of_the_age(idle, store, mailbox):
    straight = Poller(store, mailbox, comes_straight=lambda waiter: True)
    waiter = Waiter("id", "echo")
    for poller, age_s, share in ((idle, 0.3, INTERVAL_PER_AGE), (straight, 1.0, FALLBACK_PER_AGE)):
        poller._polled_s = waiter.since_s + age_s

        assert poller._due_s(waiter) - poller._polled_s == pytest.approx(age_s * share)


def test_a_young_waiter_is_polled_for_soon_beside_an_old_one(idle, mailbox):
    with mailbox.waiting_for("old") as old, mailbox.waiting_for("young") as young:
        old.since_s -= 20
        idle._polled_s = young.since_s

        assert idle._next_s() - young.since_s == pytest.approx(MIN_INTERVAL_S)


# Failures


def test_a_redis_failure_is_logged_once_and_ends_by_itself(
    mailbox, poller, store, redis_server, new_id, caplog
):
    cid = new_id(30_000)
    redis_server.connected = False
    with mailbox.waiting_for(cid.text) as waiter:
        eventually(lambda: poller.store_error is not None)
        redis_server.connected = True
        store.put_many([(cid, Reply(cid.text))])

        assert waiter.wait(10) is not None
    eventually(lambda: poller.store_error is None)

    logged = [record for record in caplog.records if "Redis cannot be reached" in record.message]
    assert [record.levelname for record in logged] == ["ERROR"]


def test_a_redis_failure_ends_although_no_request_waits(mailbox, poller, redis_server, new_id):
    redis_server.connected = False
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: poller.store_error is not None)
    redis_server.connected = True

    eventually(lambda: poller.store_error is None)


def test_single_failed_polls_reject_no_requests(mailbox, started, store, new_id, monkeypatch):
    monkeypatch.setattr("gateway.exchange.waiting.poller.FAILURE_PAUSE_S", 0.001)
    errors = []
    failing(store, monkeypatch, [StoreUnavailable("reset"), None] * 4)
    fetch = store.fetch_available

    def recording(cids):
        errors.append(poller.store_error)
        return fetch(cids)

    monkeypatch.setattr(store, "fetch_available", recording)
    poller = started()
    cid = new_id(30_000)
    with mailbox.waiting_for(cid.text) as waiter:
        eventually(lambda: len(errors) > 8)
        store.put_many([(cid, Reply(cid.text))])
        assert waiter.wait(10) is not None

    assert set(errors) == {None}


def test_a_failure_for_another_process_alone_concerns_its_own_waiters_alone(
    mailbox, started, store, ids, monkeypatch
):
    nodes = (mailbox.node, "00000000", "ffffffff")
    own, other, failing = (ids.read(ids.issue(node, epoch_ms() + 30_000)) for node in nodes)
    failing_for(store, monkeypatch, "ffffffff")
    poller = started()
    with (
        mailbox.waiting_for(failing.text) as hanging,
        mailbox.waiting_for(own.text) as first,
        mailbox.waiting_for(other.text) as second,
    ):
        eventually(lambda: poller._resting)
        store.put_many([(cid, Reply(cid.text)) for cid in (own, other)])
        assert first.wait(10) is not None
        assert second.wait(10) is not None
        assert hanging.wait(0) is None
    assert poller.store_error is None


def test_while_the_shard_of_this_process_fails_replies_to_others_are_found(
    mailbox, started, store, new_id, monkeypatch
):
    failing_for(store, monkeypatch, mailbox.node)
    poller = started()
    cid = new_id(30_000)  # of another process
    with mailbox.waiting_for(cid.text) as waiter:
        eventually(lambda: poller.store_error is not None)
        store.put_many([(cid, Reply(cid.text))])
        assert waiter.wait(10) is not None
    assert poller.store_error == "the shard hangs"


def test_a_node_whose_shard_fails_is_polled_for_again_after_a_pause(
    idle, mailbox, store, new_id, monkeypatch
):
    monkeypatch.setattr("gateway.exchange.waiting.poller.SHARD_PAUSE_S", 0.05)
    cid = new_id().text
    polls = failing_for(store, monkeypatch, node_of(cid))
    for _ in range(3):
        idle._poll([cid])
    at_once = list(polls)
    eventually(lambda: idle._awake([cid]))
    idle._poll([cid])

    # A single failure may be a connection that was reset.
    assert at_once == [[mailbox.node, cid], [mailbox.node, cid], [mailbox.node]]
    assert polls[-1] == [mailbox.node, cid]


def test_single_failures_for_a_node_do_not_stop_its_polls(
    idle, mailbox, store, new_id, monkeypatch
):
    cid = new_id().text
    for _ in range(3):
        with monkeypatch.context() as failing_now:
            failing_for(store, failing_now, node_of(cid))
            idle._poll([cid])
        idle._poll([cid])

        assert idle._awake([cid]) == [cid]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_poller_survives_an_unexpected_exception(mailbox, started, store, new_id, monkeypatch):
    failing(store, monkeypatch, [RuntimeError("a bug")])
    started()
    cid = new_id(30_000)
    store.put_many([(cid, Reply(cid.text))])

    with mailbox.waiting_for(cid.text) as waiter:
        assert waiter.wait(1) is not None


def test_a_check_finds_a_redis_failure_before_a_request_does(poller, redis_server):
    poller.check()
    before = poller.store_error
    redis_server.connected = False
    with pytest.raises(StoreUnavailable):
        poller.check()
    eventually(lambda: poller.store_error is not None)
    redis_server.connected = True

    assert before is None
    eventually(lambda: poller.store_error is None)


class CountingWatchdog(Watchdog):
    """A watchdog that only counts."""

    def __init__(self):
        super().__init__("the poller of the test", end=lambda code: None)
        self.resets = 0

    def reset(self):
        self.resets += 1


def test_an_idle_poller_resets_its_watchdog(started, monkeypatch):
    monkeypatch.setattr("gateway.exchange.waiting.poller.IDLE_S", 0.005)
    watchdog = CountingWatchdog()
    started(watchdog)

    eventually(lambda: watchdog.resets > 3)


def test_a_poller_that_hangs_ends_the_process(mailbox, started, store, new_id, monkeypatch):
    hangs = threading.Event()
    exit_codes: list[int] = []
    monkeypatch.setattr(store, "fetch_available", lambda ids: hangs.wait(30) and ({}, {}))
    started(Watchdog("the poller of the test", 0.05, exit_codes.append))
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: exit_codes)
    hangs.set()

    assert exit_codes == [EXIT_CODE]


def test_a_check_finds_that_redis_takes_no_writes(poller, redis, monkeypatch):
    out_of_memory = redis_errors.OutOfMemoryError("OOM command not allowed")
    with monkeypatch.context() as patch:
        patch.setattr(redis, "set", raising(out_of_memory))
        with pytest.raises(WritesRefused, match="OOM command not allowed"):
            poller.check()
        refused = poller.write_error, poller.store_error
    poller.check()

    assert refused[0].startswith("Redis takes no writes: Redis is out of memory")
    assert refused[1] is None  # replies that are there can be fetched
    assert poller.write_error is None


def test_a_write_that_is_not_answered_is_not_refused(poller, redis, monkeypatch):
    monkeypatch.setattr(redis, "set", raising(redis_errors.TimeoutError("no answer")))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        poller.check()

    assert poller.write_error is None


def test_the_key_of_a_check_is_no_reply_and_expires(mailbox, poller, store, redis):
    poller.check()

    assert store.fetch_many([mailbox.node]) == {}
    assert [0 < redis.pttl(key) <= 1_000 for key in redis.scan_iter()] == [True]
