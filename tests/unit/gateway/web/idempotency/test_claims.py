"""Which requests keep their Idempotency-Key claimed, which release it, and for how long."""

import random

import pytest

from gateway.exchange.breaker.probes import PROBES
from rendezvous.contract import Reply
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge
from tests.fakes import eventually, raising, record_calls
from tests.unit.gateway.web.idempotency.replicas import (
    PATIENT_S,
    TTL_S,
    assert_same,
    published_without_reply,
    silent,
)
from tests.unit.gateway.web.routes.gateway import assert_problem


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [(PublishRefused("no"), 503, "not-sent"), (PublishTooLarge("no"), 413, "too-large")],
)
def test_a_refused_request_releases_its_key(gateway, other, when, refusal, status, kind):
    gateway.publisher.responder = silent
    setattr(gateway.publisher, when, refusal)
    assert_problem(gateway.post(), status, kind, "no")

    response = other.post(data=b"another request")

    assert response.status_code == 200
    assert "Idempotent-Replayed" not in response.headers


def test_an_open_breaker_releases_the_key(gateway, other):
    breaker = gateway.breakers._by_topic["orders"]
    breaker._circuits.all.is_open, breaker._probes._in_flight = True, PROBES
    assert_problem(gateway.post(), 503, "responder-silent", "no")

    assert other.post().status_code == 200


def test_a_request_that_may_be_in_kafka_keeps_its_key(gateway, other, reply_to):
    gateway.publisher.responder = silent
    gateway.publisher.acknowledges = False
    gateway.publisher.failure = "the broker did not acknowledge it"
    assert_problem(gateway.post(path="/hasty"), 503, "not-sent", "unknown")

    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")
    assert other.published == []

    reply_to(gateway.published[0])
    assert other.post(path="/hasty").status_code == 201


def test_an_internal_error_after_publishing_keeps_the_key(gateway, other):
    gateway.publisher.responder = silent

    gateway.publisher.after_publish = raising(RuntimeError("a bug"))
    assert gateway.post(path="/hasty").status_code == 500

    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")


def test_a_waiting_retry_is_published_when_the_first_request_is_refused(gateway, other, pool):
    publishing: list[bool] = []
    refuse: list[bool] = []

    def refused_after_a_while():
        publishing.append(True)
        eventually(lambda: refuse)
        raise PublishRefused("no broker")

    gateway.publisher.responder = silent
    gateway.publisher.after_publish = refused_after_a_while
    first = pool.submit(gateway.post)
    eventually(lambda: publishing)
    waiting = [pool.submit(other.post) for _ in range(2)]
    eventually(lambda: other.waiters() == 2)
    refuse.append(True)

    assert_problem(first.result(), 503, "not-sent", "no")
    responses = [future.result() for future in waiting]
    assert [response.status_code for response in responses] == [200, 200]
    assert sum("Idempotent-Replayed" in response.headers for response in responses) == 1
    assert len(other.published) == 1


def test_a_retry_in_the_same_process_is_published_too_when_the_first_is_refused(gateway, pool):
    refuse: list[bool] = []

    def refused_later():
        eventually(lambda: refuse)
        gateway.publisher.after_publish = lambda: None
        gateway.publisher.responder = lambda request: Reply.to(request)
        gateway.mailbox.settle(gateway.published[0].correlation_id, PublishRefused("denied"))

    gateway.publisher.responder = silent
    gateway.publisher.after_publish = refused_later
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
    second = pool.submit(gateway.post)
    eventually(lambda: gateway.waiters() == 2)
    refuse.append(True)

    assert_problem(first.result(), 503, "not-sent", "no")
    assert second.result().status_code == 200
    assert len(gateway.published) == 2


def test_random_refusals_never_publish_a_key_twice(gateway, other, pool):
    chance = random.Random(1)
    accepted: list[bytes] = []

    def refuse_half(request):
        if chance.random() < 0.5:
            raise PublishRefused("no")
        accepted.append(request.body)
        return Reply.to(request, b"%d" % len(accepted))

    gateway.publisher.responder = other.publisher.responder = refuse_half
    keys = [f"key-{n}" for n in range(50)]
    jobs = [(replica, key) for key in keys for replica in (gateway, other) * 2]
    responses = list(pool.map(lambda job: job[0].post(job[1], data=job[1].encode()), jobs))

    assert len(accepted) == len(set(accepted)) > 25
    assert len(gateway.published + other.published) > len(accepted) + 10
    for key in keys:
        of_key = [a for (_, k), a in zip(jobs, responses, strict=True) if k == key]
        replied = {a.data for a in of_key if a.status_code == 200}
        assert len(replied) == (key.encode() in accepted)
        for refused in (a for a in of_key if a.status_code != 200):
            assert_problem(refused, 503, "not-sent", "no")


def test_a_retry_with_too_little_time_left_is_not_published(gateway, other, pool, redis):
    first = published_without_reply(gateway, pool, path="/hasty")
    found: list[object] = []
    current = other.claims.current

    def recording(name):
        found.append(current(name))
        return found[-1]

    other.claims.current = recording
    second = pool.submit(other.post, path="/hasty")
    eventually(lambda: found)  # it has found the claim, and waits
    redis.delete(*redis.keys("once:*"))

    assert_problem(second.result(), 503, "not-sent", "no")
    assert other.published == []
    first.result()


def test_the_key_of_a_process_that_died_before_publishing_is_soon_free(gateway, other):
    gateway.claims.confirm = raising(SystemExit())
    with pytest.raises(SystemExit):
        gateway.post()

    assert other.post().status_code == 200  # within its own deadline


def test_a_request_without_a_broker_releases_its_key(gateway, other):
    gateway.publisher.on_await_broker = raising(PublishRefused("no broker"))
    assert_problem(gateway.post(), 503, "not-sent", "no")

    assert other.post(data=b"another request").status_code == 200


def test_a_request_that_waits_for_a_broker_does_not_keep_its_key(gateway, other, pool):
    waits: list[bool] = []
    connected: list[bool] = []

    def connects_late():
        waits.append(True)
        eventually(lambda: connected)

    gateway.publisher.on_await_broker = connects_late
    first = pool.submit(gateway.post)
    eventually(lambda: waits)

    # A replica with a broker publishes as soon as the claim of the first one expires.
    second = other.post()
    connected.append(True)

    assert_same(second, first.result())
    assert (gateway.published, len(other.published)) == ([], 1)


@pytest.mark.parametrize("method", ["take", "confirm"])
def test_when_redis_does_not_answer_nothing_is_published_and_the_key_is_free_again(
    gateway, other, method
):
    gateway.claims.failing = {method}
    assert_problem(gateway.post(), 503, "reply-store-unavailable", "no")
    assert gateway.published == []

    assert other.post().status_code == 200


def test_without_redis_nothing_is_published(gateway, redis_server):
    redis_server.connected = False

    assert_problem(gateway.post(), 503, "reply-store-unavailable", "no")
    assert gateway.published == []


def test_a_key_that_cannot_be_released_stays_claimed_until_redis_answers(
    gateway, other, monkeypatch, caplog
):
    monkeypatch.setattr("gateway.exchange.releases.RETRY_S", 0.01)
    gateway.claims.failing = {"confirm", "release"}  # the confirmation is executed nevertheless
    assert_problem(gateway.post(path="/hasty"), 503, "reply-store-unavailable", "no")

    assert "its idempotency key stays claimed until Redis answers" in caplog.text
    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")
    gateway.claims.failing.clear()
    eventually(lambda: other.post(path="/hasty").status_code == 200)
    assert (gateway.published, len(other.published)) == ([], 1)


def test_a_retry_that_cannot_read_the_claim_keeps_waiting(
    gateway, other, pool, reply_to, monkeypatch
):
    other.claims.failing = {"current"}
    first = published_without_reply(gateway, pool)
    second = pool.submit(other.post)
    eventually(lambda: other.waiters() == 1)
    waiter = next(iter(other.mailbox._waiters.values()))
    reads = record_calls(monkeypatch, other.claims, "_result")
    eventually(lambda: reads)
    assert waiter.clients == 1

    reply_to(gateway.published[0])
    assert_same(first.result(), second.result())


def test_claim_and_reply_are_kept_equally_long(gateway, redis):
    response = gateway.post()

    (reply_key,) = redis.keys("reply:*")
    (claim_key,) = redis.keys("once:*")
    kept_ms = {redis.pttl(reply_key), redis.pttl(claim_key)}
    assert max(kept_ms) - min(kept_ms) < 2_000
    assert TTL_S * 1000 < min(kept_ms) <= (PATIENT_S + TTL_S) * 1000
    assert response.headers["X-Correlation-ID"].split(".")[1].endswith(f"-{TTL_S}")


def test_the_reply_to_a_request_without_a_key_is_kept_for_the_usual_time(gateway, redis):
    gateway.post(None)

    assert redis.pttl(redis.keys("reply:*")[0]) <= (PATIENT_S + 60) * 1000
    assert redis.keys("once:*") == []


def test_an_expired_key_is_a_new_one(gateway, redis):
    gateway.post()
    redis.pexpire(redis.keys("once:*")[0], 1)
    eventually(lambda: not redis.keys("once:*"))

    assert "Idempotent-Replayed" not in gateway.post().headers
    assert len(gateway.published) == 2


def test_redis_does_not_contain_the_key_itself(gateway, redis):
    gateway.post("a-secret-of-the-client")

    assert all(b"secret" not in key for key in redis.keys("*"))
