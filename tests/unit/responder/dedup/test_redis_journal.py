"""RedisJournal: one of several deliveries is handled, and its reply is remembered."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rendezvous.contract import Outcome, Reply
from rendezvous.errors import StoreUnavailable
from rendezvous.redis_store.client import execute
from rendezvous.redis_store.connecting.opening import open_redis
from responder.dedup import redis_journal as journal_module
from responder.dedup.journal import InProgress
from responder.dedup.redis_journal import CLAIM_MS, RedisJournal
from tests.fakes import eventually

CLAIM_KEY = "handling:responder:{the-id}"
SAVED_KEY = "answered:responder:{the-id}"
REPLY = Reply("the-id", b"\x00first\n", 201, (("x-a", "1"), ("x-a", "2")))


def begins_elsewhere(journal):
    """Return whether *journal* lets another thread begin."""
    with ThreadPoolExecutor(1) as thread:
        return begins(thread.submit(journal.begin, "the-id").result)


def begins(begin):
    try:
        return begin() is None
    except InProgress:
        return False


@pytest.fixture
def journal(redis):
    return RedisJournal(redis, "responder", ttl_s=100)


@pytest.fixture
def other(redis):
    """The journal of another process."""
    return RedisJournal(redis, "responder", ttl_s=100)


def test_every_process_finds_a_saved_reply(journal, other):
    assert journal.begin("the-id") is None
    assert journal.save("the-id", REPLY) == REPLY
    journal.end("the-id")

    assert journal.begin("the-id") == REPLY
    assert other.begin("the-id") == REPLY


def test_a_request_that_has_begun_cannot_begin_elsewhere(journal, other):
    assert journal.begin("the-id") is None

    with pytest.raises(InProgress):
        other.begin("the-id")
    # A rebalance can deliver the same record to another thread of the same process.
    assert not begins_elsewhere(journal)
    assert other.begin("other-id") is None


def test_a_thread_can_begin_again_when_it_missed_the_answer(journal):
    assert journal.begin("the-id") is None
    journal.end("the-id")  # it does not know of its claim
    assert journal.begin("the-id") is None


def test_the_claim_of_a_dead_process_expires(journal, other, redis):
    journal.begin("the-id")

    assert 0 < redis.pttl(CLAIM_KEY) <= CLAIM_MS
    redis.delete(CLAIM_KEY)
    assert other.begin("the-id") is None


def test_one_of_many_concurrent_deliveries_begins(redis):
    deliveries = 12
    all_ready = threading.Barrier(deliveries)

    def deliver(_):
        journal = RedisJournal(redis, "responder", ttl_s=100)
        all_ready.wait(10)
        return begins(lambda: journal.begin("the-id"))

    with ThreadPoolExecutor(deliveries) as threads:
        begun = list(threads.map(deliver, range(deliveries)))

    assert begun.count(True) == 1


def test_the_claim_on_a_slow_request_is_renewed_until_its_end(journal, redis, monkeypatch):
    monkeypatch.setattr(journal_module, "RENEW_PAUSE_S", 0.005)
    journal.start()
    try:
        journal.begin("the-id")
        redis.pexpire(CLAIM_KEY, 1_000)
        eventually(lambda: redis.pttl(CLAIM_KEY) > 1_000)
        redis.delete(CLAIM_KEY)  # as after a stop longer than its time to live
        eventually(lambda: redis.exists(CLAIM_KEY))
        journal.end("the-id")
        eventually(lambda: journal_is_idle(journal, redis))
    finally:
        journal.close()


def journal_is_idle(journal, redis):
    redis.delete(CLAIM_KEY)
    time.sleep(0.05)  # ten renewals
    return not redis.exists(CLAIM_KEY)


def test_a_request_does_not_end_between_the_decision_to_renew_its_claim_and_the_renewal(
    journal, monkeypatch
):
    events = []

    def end():
        journal.end("the-id")
        events.append("ended")

    ends = threading.Thread(target=end)

    def renew_late(pipeline):
        ends.start()
        ends.join(0.1)  # returns at once if nothing holds it up
        events.append("renewed")

    journal.begin("the-id")
    monkeypatch.setattr(journal_module, "execute", renew_late)
    journal._renew()
    ends.join(10)

    assert events == ["renewed", "ended"]
    assert journal._claims == {}


def test_claims_are_renewed_again_after_an_outage_of_redis(
    journal, redis, redis_server, monkeypatch, caplog
):
    monkeypatch.setattr(journal_module, "RENEW_PAUSE_S", 0.005)
    journal.start()
    try:
        journal.begin("the-id")
        redis_server.connected = False
        eventually(lambda: "are not renewed" in caplog.text)
        redis_server.connected = True
        redis.pexpire(CLAIM_KEY, 1_000)
        eventually(lambda: redis.pttl(CLAIM_KEY) > 1_000)
    finally:
        redis_server.connected = True
        journal.close()


def test_claims_are_renewed_again_after_any_error(journal, redis, monkeypatch):
    errors = [ValueError("of the library")]

    def failing_once(pipeline):
        if errors:
            raise errors.pop()
        return execute(pipeline)

    monkeypatch.setattr(journal_module, "RENEW_PAUSE_S", 0.005)
    monkeypatch.setattr(journal_module, "execute", failing_once)
    journal.start()
    try:
        eventually(lambda: not errors)
        journal.begin("the-id")
        redis.pexpire(CLAIM_KEY, 1_000)
        eventually(lambda: redis.pttl(CLAIM_KEY) > 1_000, within_s=1)
    finally:
        journal.close()


def test_the_first_saved_reply_stays(journal, other):
    journal.save("the-id", REPLY)

    assert other.save("the-id", Reply("the-id", b"second")) == REPLY
    assert other.begin("the-id") == REPLY


def test_a_saved_reply_expires(journal, redis):
    journal.save("the-id", REPLY)

    assert 99_000 < redis.pttl(SAVED_KEY) <= 100_000


def test_groups_have_independent_journals(journal, redis):
    journal.begin("the-id")
    journal.save("the-id", REPLY)

    assert RedisJournal(redis, "audit", ttl_s=100).begin("the-id") is None


def test_a_saved_value_that_is_not_a_reply_is_an_unusable_reply(journal, redis):
    redis.set(SAVED_KEY, b"nonsense")

    found = journal.begin("the-id")
    assert found is not None
    assert (found.outcome, found.status) == (Outcome.UNUSABLE, 502)


@pytest.mark.parametrize(
    "call", [lambda j: j.begin("the-id"), lambda j: j.save("the-id", REPLY)], ids=["begin", "save"]
)
def test_an_unreachable_redis_raises_store_unavailable(journal, redis_server, call):
    redis_server.connected = False

    with pytest.raises(StoreUnavailable, match="Redis cannot be reached"):
        call(journal)


def test_a_redis_that_hangs_raises_store_unavailable_within_a_second():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        redis = open_redis(f"redis://127.0.0.1:{silent.getsockname()[1]}")
        begun_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            RedisJournal(redis, "responder", ttl_s=100).begin("the-id")
        took_s = time.monotonic() - begun_s
        redis.close()

    assert took_s < 1
