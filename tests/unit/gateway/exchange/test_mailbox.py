"""Mailbox: each waiter gets its own outcome, from one poller that survives failures."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from redis import exceptions as redis_errors

from gateway.exchange import poll_schedule
from gateway.exchange.mailbox import Mailbox
from gateway.exchange.poll_schedule import MAX_INTERVAL_S, MAX_LINGER_SHARE
from gateway.exchange.waiter import Waiter
from rendezvous.contract import Reply
from rendezvous.errors import StoreUnavailable, WritesRefused
from rendezvous.process.watchdog import EXIT_CODE, Watchdog
from tests.fakes import eventually, raising, record_calls


@pytest.fixture
def idle(store):
    """A mailbox whose poller is not started."""
    return Mailbox(store)


@pytest.fixture
def started(store):
    """Start a mailbox; called after the store was changed."""
    with ExitStack() as stack:

        def start(*args):
            mailbox = Mailbox(store, *args)
            mailbox.start()
            stack.callback(mailbox.close)
            return mailbox

        yield start


def failing(store, monkeypatch, failures):
    """Let polls raise *failures*, one each; None is success."""
    fetch_many, failures = store.fetch_many, iter(failures)

    def fetch_or_fail(cids):
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return fetch_many(cids)

    monkeypatch.setattr(store, "fetch_many", fetch_or_fail)


def is_idle(mailbox):
    return mailbox._sleeps_until_s == math.inf


# Outcomes


@pytest.mark.parametrize("is_early", [True, False])
def test_a_reply_settles_its_waiter_whether_it_arrives_before_or_after_it(
    mailbox, store, new_id, is_early
):
    cid = new_id()
    if is_early:
        store.put_many([(cid, Reply(cid.text, b"here"))])
    with mailbox.waiting_for(cid.text) as waiter:
        if not is_early:
            store.put_many([(cid, Reply(cid.text, b"here"))])
        assert waiter.wait(10) == Reply(cid.text, b"here")


def test_each_waiter_gets_its_own_reply(mailbox, store, new_id):
    cids = [new_id(30_000) for _ in range(40)]

    def wait(cid):
        with mailbox.waiting_for(cid.text) as waiter:
            return waiter.wait(10)

    with ThreadPoolExecutor(len(cids)) as clients:
        replies = clients.map(wait, cids)
        for cid in reversed(cids):
            store.put_many([(cid, Reply(cid.text, cid.text.encode()))])

    assert list(replies) == [Reply(cid.text, cid.text.encode()) for cid in cids]


def test_a_wait_without_an_outcome_returns_none(mailbox, new_id):
    with mailbox.waiting_for(new_id().text) as waiter:
        assert waiter.wait(0.01) is None
        assert waiter.wait(0) is None
        assert waiter.wait(-1) is None


def test_a_wait_ends_at_its_timeout():
    began_s = time.monotonic()
    Waiter("x").wait(0.05)

    assert 0.04 < time.monotonic() - began_s < 5


def test_a_refused_publication_settles_its_waiter(mailbox, new_id):
    cid = new_id()

    with mailbox.waiting_for(cid.text) as waiter:
        mailbox.settle(cid.text, RuntimeError("refused"))
        with pytest.raises(RuntimeError, match="refused"):
            waiter.wait(10)


def test_only_the_first_outcome_counts(idle, new_id):
    cid = new_id()

    with idle.waiting_for(cid.text) as waiter:
        idle.settle(cid.text, Reply(cid.text, b"first"))
        idle.settle(cid.text, RuntimeError("second"))
        assert waiter.wait(1) == Reply(cid.text, b"first")


def test_an_outcome_without_a_waiter_is_ignored(mailbox, new_id):
    cid = new_id()
    with mailbox.waiting_for(cid.text):
        pass

    mailbox.settle(cid.text, Reply(cid.text))

    assert list(mailbox._waiters) == []


def test_no_waiter_is_left_after_the_block_even_on_an_exception(idle, new_id):
    with pytest.raises(KeyError), idle.waiting_for(new_id().text):
        raise KeyError

    assert list(idle._waiters) == []


def test_a_refusal_at_the_end_of_the_wait_is_never_returned_as_a_reply(new_id):
    class Late(Waiter):
        """A waiter whose outcome is set between two reads of it."""

        reads = 0

        def __getattribute__(self, name):
            if name == "outcome":
                type(self).reads += 1
                return None if self.reads == 1 else RuntimeError("refused")
            return super().__getattribute__(name)

    assert Late(new_id().text).wait(0) is None
    assert Late.reads == 1


# Several clients that wait for one reply


def test_every_client_that_waits_for_a_reply_gets_it(mailbox, store, new_id):
    cid = new_id(30_000)

    def wait(_):
        with mailbox.waiting_for(cid.text) as waiter:
            return waiter.wait(20)

    with ThreadPoolExecutor(3) as clients:
        replies = clients.map(wait, range(3))
        eventually(lambda: cid.text in mailbox._waiters and mailbox._waiters[cid.text].clients == 3)
        store.put_many([(cid, Reply(cid.text, b"for all"))])

    assert list(replies) == [Reply(cid.text, b"for all")] * 3
    assert list(mailbox._waiters) == []


def test_a_client_that_leaves_early_does_not_affect_the_others(idle, new_id):
    cid = new_id()

    with idle.waiting_for(cid.text) as waiter:
        with idle.waiting_for(cid.text):
            pass
        idle.settle(cid.text, Reply(cid.text))
        assert waiter.wait(1) == Reply(cid.text)

    assert list(idle._waiters) == []


def test_a_client_that_comes_after_the_outcome_has_a_waiter_of_its_own(idle, new_id):
    cid = new_id()

    with ExitStack() as stack:
        with idle.waiting_for(cid.text) as first:
            idle.settle(cid.text, RuntimeError("refused"))
            second = stack.enter_context(idle.waiting_for(cid.text))
        idle.settle(cid.text, Reply(cid.text))

        assert second is not first
        assert second.wait(1) == Reply(cid.text)

    assert list(idle._waiters) == []


def test_an_outcome_while_the_last_client_leaves_is_ignored(idle, new_id):
    cid = new_id()

    class SettledMeanwhile(dict[str, Waiter]):
        """The poller settles between the lookup and the removal."""

        def get(self, key, default=None):
            return super().pop(key, default)

    with idle.waiting_for(cid.text):
        idle._waiters = SettledMeanwhile(idle._waiters)

    assert dict(idle._waiters) == {}


# The poller


def test_one_poll_covers_all_waiters(mailbox, store, new_id, monkeypatch):
    polls = record_calls(monkeypatch, store, "fetch_many")
    cids = [new_id().text for _ in range(3)]

    with ExitStack() as stack:
        for cid in cids:
            stack.enter_context(mailbox.waiting_for(cid))
        eventually(lambda: (cids,) in polls)


def test_redis_is_not_polled_while_no_request_waits(started, store, new_id, monkeypatch):
    polls = record_calls(monkeypatch, store, "fetch_many")
    mailbox = started()
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: polls)
    # One more poll may be running.
    eventually(lambda: is_idle(mailbox) and mailbox._next_poll_s() is None)
    before = len(polls)
    time.sleep(4 * MAX_INTERVAL_S)
    after = len(polls)
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: len(polls) > after)

    assert after - before <= 1


def test_a_new_waiter_wakes_an_idle_poller(mailbox, store, new_id):
    eventually(lambda: is_idle(mailbox))
    cid = new_id(30_000)
    store.put_many([(cid, Reply(cid.text))])

    with mailbox.waiting_for(cid.text) as waiter:
        assert waiter.wait(10) is not None


def test_a_new_waiter_that_is_not_due_does_not_wake_the_poller(started, store, new_id, monkeypatch):
    monkeypatch.setattr(poll_schedule, "MAX_INTERVAL_S", 30.0)
    monkeypatch.setattr(poll_schedule, "TRIAL_S", 30.0)
    polls = record_calls(monkeypatch, store, "fetch_many")
    mailbox = started()
    mailbox._schedule.latencies.record("slow", 20.0)
    with mailbox.waiting_for(new_id().text, "slow"):
        eventually(lambda: 0 < mailbox._sleeps_until_s < math.inf)
        sleeps_until_s = mailbox._sleeps_until_s
        with mailbox.waiting_for(new_id().text, "slow"):
            time.sleep(0.05)
            assert mailbox._sleeps_until_s == sleeps_until_s
            assert not polls
        # The latency of another topic is unknown.
        with mailbox.waiting_for(new_id().text, "unknown"):
            eventually(lambda: polls)


def test_the_latency_of_a_topic_is_learned_from_its_replies(mailbox, store, new_id):
    cid = new_id(30_000)
    with mailbox.waiting_for(cid.text, "echo") as waiter:
        waiter.since_s -= 1.0
        eventually(lambda: mailbox._schedule.polled_s > waiter.since_s)
        store.put_many([(cid, Reply(cid.text))])
        assert waiter.wait(10) is not None

    assert mailbox._schedule.latencies.of("echo") == pytest.approx(1.0, rel=0.2)


def test_the_linger_is_for_the_current_waiters(idle, new_id):
    idle._schedule.latencies.record("slow", 0.016)
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(idle.waiting_for(new_id().text, "slow"))
        idle._next_poll_s()
        assert idle.linger_ms() == pytest.approx(16 * MAX_LINGER_SHARE)
    assert idle.linger_ms() == 0


def test_polling_for_one_id_queries_the_store(idle, store, redis_server, new_id):
    cid = new_id()
    assert idle.poll(cid.text) is None
    store.put_many([(cid, Reply(cid.text))])
    assert idle.poll(cid.text) == Reply(cid.text)
    redis_server.connected = False

    with pytest.raises(StoreUnavailable):
        idle.poll(cid.text)


def test_each_start_makes_a_new_node_name(store):
    before = Mailbox(store)
    node = before.node
    before.start()
    before.close()

    assert before.node != node


def test_closing_ends_an_idle_poller(started):
    mailbox = started()
    eventually(lambda: is_idle(mailbox))
    mailbox.close()

    assert not mailbox._thread.is_alive()


def test_closing_between_two_polls_ends_the_poller(idle, monkeypatch):
    sleep, closed = idle._sleep, threading.Event()

    def close_first(wakeup):
        if not closed.is_set():
            idle._closing = True
            idle._wake_poller()
            closed.set()
        return sleep(wakeup)

    monkeypatch.setattr(idle, "_sleep", close_first)
    idle.start()
    closed.wait(10)
    idle._thread.join(0.5)
    alive = idle._thread.is_alive()
    idle.close()

    assert not alive


# Failures


def test_a_redis_failure_is_logged_once_and_ends_by_itself(
    mailbox, store, redis_server, new_id, caplog
):
    cid = new_id(30_000)
    redis_server.connected = False
    with mailbox.waiting_for(cid.text) as waiter:
        eventually(lambda: mailbox.store_error is not None)
        redis_server.connected = True
        store.put_many([(cid, Reply(cid.text))])

        assert waiter.wait(10) is not None
    eventually(lambda: mailbox.store_error is None)

    logged = [record for record in caplog.records if "Redis cannot be reached" in record.message]
    assert [record.levelname for record in logged] == ["ERROR"]


def test_a_redis_failure_ends_although_no_request_waits(mailbox, redis_server, new_id):
    redis_server.connected = False
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: mailbox.store_error is not None)
    redis_server.connected = True

    eventually(lambda: mailbox.store_error is None)


def test_single_failed_polls_reject_no_requests(started, store, new_id, monkeypatch):
    monkeypatch.setattr("gateway.exchange.mailbox.FAILURE_PAUSE_S", 0.001)
    errors = []
    failing(store, monkeypatch, [StoreUnavailable("reset"), None] * 4)
    fetch_many = store.fetch_many

    def recording(cids):
        errors.append(mailbox.store_error)
        return fetch_many(cids)

    monkeypatch.setattr(store, "fetch_many", recording)
    mailbox = started()
    cid = new_id(30_000)
    with mailbox.waiting_for(cid.text) as waiter:
        eventually(lambda: len(errors) > 8)
        store.put_many([(cid, Reply(cid.text))])
        assert waiter.wait(10) is not None

    assert set(errors) == {None}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_poller_survives_an_unexpected_exception(started, store, new_id, monkeypatch):
    failing(store, monkeypatch, [RuntimeError("a bug")])
    mailbox = started()
    cid = new_id(30_000)
    store.put_many([(cid, Reply(cid.text))])

    with mailbox.waiting_for(cid.text) as waiter:
        assert waiter.wait(1) is not None


def test_a_check_finds_a_redis_failure_before_a_request_does(mailbox, redis_server):
    mailbox.check()
    before = mailbox.store_error
    redis_server.connected = False
    with pytest.raises(StoreUnavailable):
        mailbox.check()
    eventually(lambda: mailbox.store_error is not None)
    redis_server.connected = True

    assert before is None
    eventually(lambda: mailbox.store_error is None)


class CountingWatchdog(Watchdog):
    """A watchdog that only counts."""

    def __init__(self):
        super().__init__("the poller of the test", end=lambda code: None)
        self.resets = 0

    def reset(self):
        self.resets += 1


def test_an_idle_poller_resets_its_watchdog(started, monkeypatch):
    monkeypatch.setattr("gateway.exchange.mailbox.IDLE_S", 0.005)
    watchdog = CountingWatchdog()
    started(watchdog)

    eventually(lambda: watchdog.resets > 3)


def test_a_poller_that_hangs_ends_the_process(started, store, new_id, monkeypatch):
    hangs = threading.Event()
    exit_codes: list[int] = []
    monkeypatch.setattr(store, "fetch_many", lambda ids: hangs.wait(30) and {})
    mailbox = started(Watchdog("the poller of the test", 0.05, exit_codes.append))
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: exit_codes)
    hangs.set()

    assert exit_codes == [EXIT_CODE]


def test_a_check_finds_that_redis_takes_no_writes(mailbox, redis, monkeypatch):
    out_of_memory = redis_errors.OutOfMemoryError("OOM command not allowed")
    with monkeypatch.context() as patch:
        patch.setattr(redis, "set", raising(out_of_memory))
        with pytest.raises(WritesRefused, match="OOM command not allowed"):
            mailbox.check()
        refused = mailbox.write_error, mailbox.store_error
    mailbox.check()

    assert refused[0].startswith("Redis takes no writes: Redis is out of memory")
    assert refused[1] is None  # replies that are there can be fetched
    assert mailbox.write_error is None


def test_a_write_that_is_not_answered_is_not_refused(mailbox, redis, monkeypatch):
    monkeypatch.setattr(redis, "set", raising(redis_errors.TimeoutError("no answer")))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        mailbox.check()

    assert mailbox.write_error is None


def test_the_key_of_a_check_is_no_reply_and_expires(mailbox, store, redis):
    mailbox.check()

    assert store.fetch_many([mailbox.node]) == {}
    assert [0 < redis.pttl(key) <= 1_000 for key in redis.scan_iter()] == [True]
