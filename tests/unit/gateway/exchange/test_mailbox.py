"""The mailbox: who waits gets his own reply, and nobody is woken twice."""

import math
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest

from gateway.exchange import poll_schedule as looks_module
from gateway.exchange.linger import MAX_SHARE
from gateway.exchange.mailbox import Mailbox
from gateway.exchange.poll_schedule import (
    MANY_WAITERS,
    MAX_PAUSE_S,
    MIN_PAUSE_S,
    PAUSE_OF_MANY,
    PAUSE_PER_AGE,
    TRIAL_S,
)
from gateway.exchange.reply_times import MARGIN
from gateway.exchange.waiter import Waiter
from rendezvous.contract import Reply
from rendezvous.errors import StoreUnavailable
from rendezvous.process.watchdog import EXIT_CODE, Watchdog
from tests.fakes import eventually


def watch(store, monkeypatch):
    """Return the list in which each look of the poller will be noted."""
    asked, fetch_many = [], store.fetch_many

    def noted(cids):
        asked.append(list(cids))
        return fetch_many(cids)

    monkeypatch.setattr(store, "fetch_many", noted)
    return asked


def test_a_reply_wakes_the_one_who_waits_for_it(mailbox, store, new_id):
    cid = new_id()

    with mailbox.waiting_for(cid.text) as waiter:
        store.put_many([(cid, Reply(cid.text, b"here"))])
        reply = waiter.wait(10)

    assert reply == Reply(cid.text, b"here")


def test_a_reply_that_is_there_before_the_wait_is_found(mailbox, store, new_id):
    cid = new_id()
    store.put_many([(cid, Reply(cid.text))])

    with mailbox.waiting_for(cid.text) as waiter:
        assert waiter.wait(10) == Reply(cid.text)


def test_everyone_gets_his_own_reply(mailbox, store, new_id):
    cids = [new_id(30_000) for _ in range(40)]
    got = {}

    def ask(cid):
        with mailbox.waiting_for(cid.text) as waiter:
            got[cid.text] = waiter.wait(10)

    threads = [threading.Thread(target=ask, args=(cid,)) for cid in cids]
    for thread in threads:
        thread.start()
    for cid in reversed(cids):
        store.put_many([(cid, Reply(cid.text, cid.text.encode()))])
    for thread in threads:
        thread.join(15)

    assert got == {cid.text: Reply(cid.text, cid.text.encode()) for cid in cids}


def test_a_wait_without_ending_ends_in_none(mailbox, new_id):
    with mailbox.waiting_for(new_id().text) as waiter:
        assert waiter.wait(0.01) is None
        assert waiter.wait(0) is None
        assert waiter.wait(-1) is None


def test_a_failed_publication_wakes_the_one_who_waits(mailbox, new_id):
    cid = new_id()

    with mailbox.waiting_for(cid.text) as waiter:
        mailbox.settle(cid.text, RuntimeError("refused"))
        with pytest.raises(RuntimeError, match="refused"):
            waiter.wait(10)


def test_the_first_ending_counts(store, new_id):
    mailbox = Mailbox(store)  # not started: nobody else settles
    cid = new_id()

    with mailbox.waiting_for(cid.text) as waiter:
        mailbox.settle(cid.text, Reply(cid.text, b"first"))
        mailbox.settle(cid.text, RuntimeError("second"))
        assert waiter.wait(1) == Reply(cid.text, b"first")


def test_an_ending_for_someone_who_has_left_goes_nowhere(mailbox, new_id):
    cid = new_id()
    with mailbox.waiting_for(cid.text):
        pass

    mailbox.settle(cid.text, Reply(cid.text))


def test_nobody_is_left_in_the_mailbox_when_the_wait_is_over(store, new_id):
    mailbox = Mailbox(store)
    with pytest.raises(KeyError), mailbox.waiting_for(new_id().text):
        raise KeyError

    assert list(mailbox._waiters) == []


def test_redis_is_asked_once_for_all_who_wait(mailbox, store, new_id, monkeypatch):
    asked = watch(store, monkeypatch)
    cids = [new_id().text for _ in range(3)]

    with mailbox.waiting_for(cids[0]), mailbox.waiting_for(cids[1]), mailbox.waiting_for(cids[2]):
        eventually(lambda: cids in asked)


def test_redis_is_not_asked_while_nobody_waits(store, new_id, monkeypatch):
    asked = watch(store, monkeypatch)
    mailbox = Mailbox(store)
    mailbox.start()
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: asked)
    # One more look may be under way; after it the poller sleeps until somebody comes.
    eventually(lambda: sleeps_for_good(mailbox) and mailbox._next_look_s() is None)
    before = len(asked)
    threading.Event().wait(4 * MAX_PAUSE_S)
    after = len(asked)
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: len(asked) > after)
    mailbox.close()

    assert after - before <= 1


def resting(store: Any) -> Any:
    """Return a mailbox that is not started: nobody looks."""
    return Mailbox(store)


def looked_just_now(mailbox: Any) -> float:
    """Let *mailbox*, which is not started, have looked; return when."""
    now_s = mailbox._looks.looked_s = time.monotonic()
    return now_s


def test_the_pause_grows_with_the_age_of_a_request(store, new_id):
    mailbox = resting(store)

    assert mailbox._next_look_s() is None
    with mailbox.waiting_for(new_id().text) as old:
        looked_s = looked_just_now(mailbox)
        assert mailbox._next_look_s() - looked_s == pytest.approx(MIN_PAUSE_S)
        old.since_s = looked_s - 0.4
        assert mailbox._next_look_s() - looked_s == pytest.approx(0.4 * PAUSE_PER_AGE)
        old.since_s = looked_s - 100
        assert mailbox._next_look_s() - looked_s == pytest.approx(MAX_PAUSE_S)
        with mailbox.waiting_for(new_id().text) as young:
            young.since_s = looked_s
            assert mailbox._next_look_s() - looked_s == pytest.approx(MIN_PAUSE_S)


def test_nobody_is_looked_for_before_the_reply_is_due(store, new_id):
    mailbox = resting(store)
    for _ in range(3):
        mailbox._looks.times.note("echo", 0.025)
    with mailbox.waiting_for(new_id().text, "echo") as waiter:
        due_s = waiter.since_s + 0.025 * MARGIN
        mailbox._looks.looked_s = waiter.since_s
        assert mailbox._next_look_s() == pytest.approx(due_s)
        mailbox._looks.looked_s = due_s
        assert mailbox._next_look_s() - due_s == pytest.approx(0.02 * PAUSE_PER_AGE)


def test_who_is_due_is_looked_for_whoever_has_come_since(store, new_id):
    mailbox = resting(store)
    mailbox._looks.times.note("slow", 0.2)
    with ExitStack() as stack:
        old = stack.enter_context(mailbox.waiting_for(new_id().text, "slow"))
        for _ in range(3):
            stack.enter_context(mailbox.waiting_for(new_id().text, "slow"))
        looked_s = looked_just_now(mailbox)
        assert mailbox._next_look_s() - looked_s == pytest.approx(MAX_PAUSE_S)
        old.since_s = looked_s - 0.2 * MARGIN + 0.01
        assert mailbox._next_look_s() - looked_s == pytest.approx(0.01, rel=0.01)


def test_who_waits_alone_is_looked_for_once_before_the_reply_is_due(store, new_id):
    mailbox = resting(store)
    mailbox._looks.times.note("slow", 0.2)
    mailbox._looks.looked_s = time.monotonic()
    with mailbox.waiting_for(new_id().text, "slow") as waiter:
        assert mailbox._next_look_s() == pytest.approx(waiter.since_s + TRIAL_S)
        mailbox._looks.looked_s = waiter.since_s + TRIAL_S
        assert mailbox._next_look_s() == pytest.approx(mailbox._looks.looked_s + MAX_PAUSE_S)
        with mailbox.waiting_for(new_id().text, "slow"):
            mailbox._looks.looked_s = waiter.since_s - 1
            assert mailbox._next_look_s() > waiter.since_s + TRIAL_S


def test_among_many_there_are_looks_before_anybody_is_due(store, new_id):
    mailbox = resting(store)
    mailbox._looks.times.note("slow", 0.2)
    with ExitStack() as stack:
        for _ in range(MANY_WAITERS - 1):
            stack.enter_context(mailbox.waiting_for(new_id().text, "slow"))
        looked_s = looked_just_now(mailbox)
        assert mailbox._next_look_s() - looked_s == pytest.approx(MAX_PAUSE_S)
        stack.enter_context(mailbox.waiting_for(new_id().text, "slow"))
        looked_s = looked_just_now(mailbox)
        assert mailbox._next_look_s() - looked_s == pytest.approx(0.2 * PAUSE_OF_MANY)


def test_how_long_replies_take_is_learnt_from_those_that_come(mailbox, store, new_id):
    cid = new_id(30_000)
    with mailbox.waiting_for(cid.text, "echo") as waiter:
        waiter.since_s -= 1.0
        eventually(lambda: mailbox._looks.looked_s > waiter.since_s)
        store.put_many([(cid, Reply(cid.text))])
        assert waiter.wait(10) is not None

    assert mailbox._looks.times.earliest_s("echo") == pytest.approx(MARGIN, rel=0.2)
    assert mailbox._looks.times.earliest_s("") == 0


def test_a_newcomer_that_is_not_due_lets_the_poller_sleep(store, new_id, monkeypatch):
    monkeypatch.setattr(looks_module, "MAX_PAUSE_S", 30.0)
    monkeypatch.setattr(looks_module, "TRIAL_S", 30.0)
    asked = watch(store, monkeypatch)
    mailbox = Mailbox(store)
    mailbox._looks.times.note("slow", 20.0)
    mailbox.start()
    with mailbox.waiting_for(new_id().text, "slow"):
        eventually(lambda: 0 < mailbox._sleeps_until_s < math.inf)
        sleeps_until_s = mailbox._sleeps_until_s
        with mailbox.waiting_for(new_id().text, "slow"):
            threading.Event().wait(0.05)
            assert mailbox._sleeps_until_s == sleeps_until_s
            assert not asked
        # Another one may be replied to at any time.
        with mailbox.waiting_for(new_id().text, "unknown"):
            eventually(lambda: asked)
    mailbox.close()


def test_records_are_gathered_by_the_fastest_replies_that_are_waited_for(store, new_id):
    mailbox = resting(store)
    mailbox._looks.times.note("fast", 0.010)
    mailbox._looks.times.note("slow", 0.020)
    mailbox._looks.times.note("unused", 0.001)
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(mailbox.waiting_for(new_id().text, "slow"))
        # Asked for again by its id: nobody knows how long such a one waits.
        stack.enter_context(mailbox.waiting_for(new_id().text))
        mailbox._next_look_s()
        assert mailbox.linger_ms() == pytest.approx(20 * MAX_SHARE)
        stack.enter_context(mailbox.waiting_for(new_id().text, "fast"))
        mailbox._next_look_s()
        assert mailbox.linger_ms() == pytest.approx(10 * MAX_SHARE)
    assert mailbox.linger_ms() == 0


def test_nothing_is_gathered_for_those_of_whom_nothing_is_known(store, new_id):
    mailbox = resting(store)
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(mailbox.waiting_for(new_id().text))
        mailbox._next_look_s()
        assert mailbox.linger_ms() == 0


def sleeps_for_good(mailbox):
    return mailbox._sleeps_until_s == math.inf


def test_a_newcomer_wakes_a_poller_that_sleeps_long(mailbox, store, new_id, monkeypatch):
    # Asleep for good, for nobody waits: only the newcomer himself can end that.
    eventually(lambda: sleeps_for_good(mailbox))
    cid = new_id(30_000)
    store.put_many([(cid, Reply(cid.text))])

    with mailbox.waiting_for(cid.text) as waiter:
        assert waiter.wait(10) is not None


def test_redis_trouble_is_noticed_told_once_and_over_by_itself(
    mailbox, store, redis_server, new_id, caplog
):
    cid = new_id(30_000)
    redis_server.connected = False
    with mailbox.waiting_for(cid.text) as waiter:
        eventually(lambda: mailbox.trouble is not None)
        redis_server.connected = True
        store.put_many([(cid, Reply(cid.text))])

        assert waiter.wait(10) is not None
    eventually(lambda: mailbox.trouble is None)

    assert [r.levelname for r in caplog.records if "Redis cannot be reached" in r.message] == [
        "ERROR"
    ]


def test_one_failure_is_no_trouble(store, new_id, monkeypatch):
    fetch_many, failures = store.fetch_many, [StoreUnavailable("reset")]
    troubles = []

    def fails_once(cids):
        troubles.append(mailbox.trouble)
        if failures:
            raise failures.pop()
        return fetch_many(cids)

    monkeypatch.setattr(store, "fetch_many", fails_once)
    mailbox = Mailbox(store)
    mailbox.start()
    cid = new_id(30_000)
    store.put_many([(cid, Reply(cid.text))])
    with mailbox.waiting_for(cid.text) as waiter:
        reply = waiter.wait(10)
    mailbox.close()

    assert reply is not None
    assert set(troubles) == {None}


def test_failures_that_are_not_in_a_row_are_none_either(store, new_id, monkeypatch):
    fetch_many = store.fetch_many
    looks: list[str | None] = []

    def fails_every_other_time(cids):
        looks.append(mailbox.trouble)
        if len(looks) % 2:
            raise StoreUnavailable("reset")
        return fetch_many(cids)

    monkeypatch.setattr(store, "fetch_many", fails_every_other_time)
    monkeypatch.setattr("gateway.exchange.mailbox.TROUBLE_PAUSE_S", 0.001)
    mailbox = Mailbox(store)
    mailbox.start()
    with mailbox.waiting_for(new_id(30_000).text):
        eventually(lambda: len(looks) > 8)
    mailbox.close()

    assert set(looks) == {None}


def test_trouble_ends_although_nobody_waits(mailbox, redis_server, new_id):
    redis_server.connected = False
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: mailbox.trouble is not None)
    redis_server.connected = True

    eventually(lambda: mailbox.trouble is None)


def test_looking_asks_the_store_itself(store, redis_server, new_id):
    mailbox = Mailbox(store)
    cid = new_id()
    assert mailbox.poll(cid.text) is None
    store.put_many([(cid, Reply(cid.text))])
    assert mailbox.poll(cid.text) == Reply(cid.text)
    redis_server.connected = False

    with pytest.raises(StoreUnavailable):
        mailbox.poll(cid.text)


def test_each_start_has_a_name_of_its_own(store):
    mailbox = Mailbox(store)
    before = mailbox.node
    mailbox.start()
    mailbox.close()

    assert mailbox.node != before


def test_closing_ends_the_poller(store, new_id):
    mailbox = Mailbox(store)
    mailbox.start()
    eventually(lambda: sleeps_for_good(mailbox))
    mailbox.close()

    assert mailbox._thread is not None
    assert not mailbox._thread.is_alive()


def test_closing_between_two_looks_ends_the_poller(store, monkeypatch):
    mailbox = Mailbox(store)
    sleep, closed = mailbox._sleep, threading.Event()

    def closed_meanwhile(alarm):
        if not closed.is_set():
            mailbox._closing = True
            mailbox._ring()
            closed.set()
        return sleep(alarm)

    monkeypatch.setattr(mailbox, "_sleep", closed_meanwhile)
    mailbox.start()
    closed.wait(10)
    assert mailbox._thread is not None
    mailbox._thread.join(0.5)
    alive = mailbox._thread.is_alive()
    mailbox.close()  # let it go, whatever came out

    assert not alive


def test_a_refusal_at_the_very_end_of_the_wait_is_never_returned_as_a_reply(new_id):
    class Late(Waiter):
        """Its ending comes between two looks at it."""

        looks = 0

        def __getattribute__(self, name):
            if name == "ending":
                type(self).looks += 1
                return None if self.looks == 1 else RuntimeError("refused")
            return super().__getattribute__(name)

    ending = None
    try:
        ending = Late(new_id().text).wait(0)
    except RuntimeError:
        return  # told as what it is

    assert ending is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_poller_survives_what_nobody_expected(store, new_id, monkeypatch):
    fetch_many, troubles = store.fetch_many, [RuntimeError("nobody expected this")]

    def fails_once(cids):
        if troubles:
            raise troubles.pop()
        return fetch_many(cids)

    monkeypatch.setattr(store, "fetch_many", fails_once)
    mailbox = Mailbox(store)
    mailbox.start()
    cid = new_id(30_000)
    store.put_many([(cid, Reply(cid.text))])
    with mailbox.waiting_for(cid.text) as waiter:
        reply = waiter.wait(1)
    mailbox.close()

    assert reply is not None


def test_trouble_is_known_before_the_first_request_meets_it(mailbox, redis_server):
    mailbox.check()
    before = mailbox.trouble
    redis_server.connected = False
    with pytest.raises(StoreUnavailable):
        mailbox.check()
    eventually(lambda: mailbox.trouble is not None)
    redis_server.connected = True

    assert before is None
    eventually(lambda: mailbox.trouble is None)


class CountedBeats(Watchdog):
    """A watchdog that ends nothing."""

    def __init__(self):
        super().__init__("the poller of the test", end=lambda code: None)
        self.beats = 0

    def beat(self):
        self.beats += 1


def test_the_poller_shows_that_it_is_alive_also_when_nobody_waits(store, monkeypatch):
    monkeypatch.setattr("gateway.exchange.mailbox.IDLE_PAUSE_S", 0.005)
    watchdog = CountedBeats()
    mailbox = Mailbox(store, watchdog)
    mailbox.start()
    eventually(lambda: watchdog.beats > 3)
    mailbox.close()


def test_a_poller_that_hangs_ends_the_process(store, new_id, monkeypatch):
    hangs = threading.Event()
    ended: list[int] = []
    monkeypatch.setattr(store, "fetch_many", lambda ids: hangs.wait(30) and {})
    mailbox = Mailbox(store, Watchdog("the poller of the test", 0.05, ended.append))
    mailbox.start()
    with mailbox.waiting_for(new_id().text):
        eventually(lambda: ended)
    hangs.set()
    mailbox.close()

    assert ended == [EXIT_CODE]


def test_pauses_are_short_enough_to_be_of_use():
    # A guard for the two constants: a tick above the reply time of a fast responder shows.
    assert 0 < looks_module.MIN_PAUSE_S <= 0.005
    assert looks_module.MIN_PAUSE_S < looks_module.MAX_PAUSE_S <= 0.1


def test_one_waiter_costs_no_more_time_than_is_left():
    began_s = time.monotonic()
    Waiter("x").wait(0.05)

    assert 0.04 < time.monotonic() - began_s < 5


def test_all_who_wait_for_one_reply_get_it(mailbox, store, new_id):
    cid, got = new_id(30_000), []

    def ask():
        with mailbox.waiting_for(cid.text) as waiter:
            got.append(waiter.wait(60))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: cid.text in mailbox._waiters and mailbox._waiters[cid.text].holders == 3)
    store.put_many([(cid, Reply(cid.text, b"for all"))])
    eventually(lambda: len(got) == 3)
    for thread in threads:
        thread.join(10)

    assert got == [Reply(cid.text, b"for all")] * 3
    assert list(mailbox._waiters) == []


def test_who_leaves_early_takes_nothing_from_who_stays(store, new_id):
    mailbox = Mailbox(store)  # not started: nobody else settles
    cid = new_id()

    with mailbox.waiting_for(cid.text) as stays:
        with mailbox.waiting_for(cid.text):
            pass
        mailbox.settle(cid.text, Reply(cid.text))
        assert stays.wait(1) == Reply(cid.text)

    assert list(mailbox._waiters) == []


def test_who_comes_after_the_ending_waits_for_himself(store, new_id):
    mailbox = Mailbox(store)
    cid = new_id()

    with ExitStack() as latecomer:
        with mailbox.waiting_for(cid.text) as first:
            mailbox.settle(cid.text, RuntimeError("refused"))
            second = latecomer.enter_context(mailbox.waiting_for(cid.text))
        mailbox.settle(cid.text, Reply(cid.text))

        assert second is not first
        assert second.wait(1) == Reply(cid.text)

    assert list(mailbox._waiters) == []


def test_an_ending_in_the_moment_of_leaving_harms_nobody(store, new_id):
    mailbox = Mailbox(store)
    cid = new_id()

    class Meanwhile(dict[str, Waiter]):
        """The poller settles between the look and the removal."""

        def get(self, key, default=None):
            return super().pop(key, default)

    with mailbox.waiting_for(cid.text):
        mailbox._waiters = Meanwhile(mailbox._waiters)

    assert dict(mailbox._waiters) == {}
