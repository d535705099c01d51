"""Mailbox: each waiter gets its own outcome, and only the first one."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gateway.exchange.waiting.mailbox import (
    LINGER_MS_PER_WAITER,
    MAX_LINGER_MS,
    MIN_LINGER_WAITERS,
    Mailbox,
)
from gateway.exchange.waiting.waiter import Waiter
from rendezvous.contract import Reply
from tests.fakes import eventually

# Outcomes


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


def test_only_the_first_outcome_counts(mailbox, new_id):
    cid = new_id()

    with mailbox.waiting_for(cid.text) as waiter:
        assert mailbox.settle(cid.text, Reply(cid.text, b"first"))
        assert not mailbox.settle(cid.text, RuntimeError("second"))
        assert waiter.wait(1) == Reply(cid.text, b"first")


def test_an_outcome_without_a_waiter_is_ignored(mailbox, new_id):
    cid = new_id()
    with mailbox.waiting_for(cid.text):
        pass

    assert not mailbox.settle(cid.text, Reply(cid.text))
    assert mailbox.waiters() == []


def test_no_waiter_is_left_after_the_block_even_on_an_exception(mailbox, new_id):
    with pytest.raises(KeyError), mailbox.waiting_for(new_id().text):
        raise KeyError

    assert mailbox.waiters() == []


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


def test_every_client_that_waits_for_a_reply_gets_it(mailbox, new_id):
    cid = new_id(30_000)

    def wait(_):
        with mailbox.waiting_for(cid.text) as waiter:
            return waiter.wait(20)

    with ThreadPoolExecutor(3) as clients:
        replies = clients.map(wait, range(3))
        eventually(lambda: (waiter := mailbox.waiter(cid.text)) and waiter.clients == 3)
        mailbox.settle(cid.text, Reply(cid.text, b"for all"))

    assert list(replies) == [Reply(cid.text, b"for all")] * 3
    assert mailbox.waiters() == []


def test_a_client_that_leaves_early_does_not_affect_the_others(mailbox, new_id):
    cid = new_id()

    with mailbox.waiting_for(cid.text) as waiter:
        with mailbox.waiting_for(cid.text):
            pass
        mailbox.settle(cid.text, Reply(cid.text))
        assert waiter.wait(1) == Reply(cid.text)

    assert mailbox.waiters() == []


def test_a_client_that_comes_after_the_outcome_has_a_waiter_of_its_own(mailbox, new_id):
    cid = new_id()

    with ExitStack() as stack:
        with mailbox.waiting_for(cid.text) as first:
            mailbox.settle(cid.text, RuntimeError("refused"))
            second = stack.enter_context(mailbox.waiting_for(cid.text))
        mailbox.settle(cid.text, Reply(cid.text))

        assert second is not first
        assert second.wait(1) == Reply(cid.text)

    assert mailbox.waiters() == []


def test_an_outcome_while_the_last_client_leaves_is_ignored(mailbox, new_id):
    cid = new_id()

    class SettledMeanwhile(dict[str, Waiter]):
        """The poller settles between the lookup and the removal."""

        def get(self, key, default=None):
            return super().pop(key, default)

    with mailbox.waiting_for(cid.text):
        mailbox._waiters = SettledMeanwhile(mailbox._waiters)

    assert dict(mailbox._waiters) == {}


# The process


def test_each_start_makes_a_new_node_name_and_forgets_the_waiters_of_the_parent_process(new_id):
    mailbox = Mailbox()
    node = mailbox.node
    with mailbox.waiting_for(new_id().text):
        mailbox.start()

        assert mailbox.waiters() == []
    assert mailbox.node != node


def test_each_new_waiter_is_announced_once_however_many_clients_it_has(mailbox, new_id):
    announced: list[Waiter] = []
    cid = new_id().text
    mailbox.on_waiter = announced.append
    with mailbox.waiting_for(cid) as waiter, mailbox.waiting_for(cid):
        assert announced == [waiter]


def test_waiters_are_listed_oldest_first(mailbox, new_id):
    cids = [new_id().text for _ in range(3)]
    with ExitStack() as stack:
        for cid in cids:
            stack.enter_context(mailbox.waiting_for(cid))

        assert [waiter.correlation_id for waiter in mailbox.waiters()] == cids


def test_the_linger_grows_with_the_number_of_waiters_up_to_a_maximum(mailbox):
    lingers_ms = []
    with ExitStack() as stack:
        for number in range(200):
            lingers_ms.append(mailbox.linger_ms())
            stack.enter_context(mailbox.waiting_for(str(number)))

    assert lingers_ms[:MIN_LINGER_WAITERS] == [0.0] * MIN_LINGER_WAITERS
    assert lingers_ms[50] == pytest.approx(50 * LINGER_MS_PER_WAITER)
    assert lingers_ms == sorted(lingers_ms)
    assert lingers_ms[-1] == MAX_LINGER_MS
    assert mailbox.linger_ms() == 0
