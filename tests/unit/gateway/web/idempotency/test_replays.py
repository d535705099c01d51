"""A retry with the same Idempotency-Key gets the reply to the first request."""

import pytest

from gateway.clients.client import Client
from gateway.exchange.breaker.probes import PROBES
from gateway.exchange.breaker.topic_breaker import MIN_FINISHED
from rendezvous.contract import Outcome, Reply
from rendezvous.kafka_client.producer import PublishRefused
from tests.fakes import eventually
from tests.unit.gateway.web.idempotency.replicas import assert_same, published_without_reply, silent
from tests.unit.gateway.web.routes.gateway import assert_problem


@pytest.mark.parametrize("status", [200, 201, 204, 400, 409, 422, 500, 503])
def test_a_retry_gets_the_reply_to_the_first_request_with_any_status(gateway, other, status):
    gateway.publisher.responder = lambda request: Reply.to(
        request, b"\x00first", status=status, content_type="a/b", headers=[("location", "/o/7")]
    )

    first = gateway.post()
    retries = [replica.post() for replica in (gateway, other)]

    assert first.status_code == status
    for retry in retries:
        assert_same(first, retry)
    assert (len(gateway.published), other.published) == (1, [])


@pytest.mark.parametrize(
    ("outcome", "kind"), [(Outcome.UNUSABLE, "bad-reply"), (Outcome.FAILED, "responder-error")]
)
def test_a_reply_that_is_no_http_response_is_replayed_as_the_same_problem(
    gateway, other, outcome, kind
):
    gateway.publisher.responder = lambda request: Reply(
        request.correlation_id, status=502, outcome=outcome, detail="because"
    )

    first, again = gateway.post(), other.post()

    assert_problem(first, 502, kind, "yes")
    assert_same(first, again)


def test_a_key_is_the_same_in_quotes_and_bare(gateway):
    assert_same(gateway.post("k-1"), gateway.post('"k-1"'))


def test_another_key_is_another_request(gateway):
    first, second = gateway.post("k-1"), gateway.post("k-2")

    assert len(gateway.published) == 2
    assert first.headers["X-Correlation-ID"] != second.headers["X-Correlation-ID"]
    assert "Idempotent-Replayed" not in second.headers


def test_requests_without_a_key_are_independent(gateway):
    assert "Idempotent-Replayed" not in gateway.post(None).headers
    assert "Idempotent-Replayed" not in gateway.post(None).headers
    assert len(gateway.published) == 2


def test_the_same_key_of_two_clients_is_two_keys(gateway, monkeypatch):
    client = [Client("anna")]
    monkeypatch.setattr("gateway.web.routes.current_client", lambda: client[0])
    first = gateway.post()
    client[0] = Client("bert")
    second = gateway.post(data=b"something else")

    assert first.status_code == second.status_code == 200
    assert len(gateway.published) == 2
    client[0] = Client("anna")
    assert_same(first, gateway.post())


def test_a_replay_needs_neither_kafka_nor_a_closed_breaker(gateway, other):
    first = gateway.post()
    other.publisher.refused_at_once = PublishRefused("no broker")
    breaker = other.breakers._by_topic["orders"]
    breaker._circuits.all.is_open, breaker._probes._in_flight = True, PROBES

    assert_problem(other.post("new"), 503, "responder-silent", "no")
    assert_same(first, other.post())


def test_replays_do_not_count_for_the_breaker(gateway, pool):
    gateway.publisher.responder = silent
    first = gateway.post(path="/hasty")
    retries = list(pool.map(lambda _: gateway.post(path="/hasty"), range(MIN_FINISHED + 2)))

    assert_problem(first, 503, "reply-timeout", "yes")
    for retry in retries:
        assert_problem(retry, 503, "reply-timeout", "unknown")
    assert len(gateway.published) == 1
    assert len(gateway.breakers._by_topic["hasty"]._circuits._finished) == 1


def test_one_of_several_concurrent_requests_is_published_and_all_get_its_reply(
    gateway, pool, reply_to
):
    gateway.publisher.responder = silent
    waiting = [pool.submit(gateway.post) for _ in range(3)]
    eventually(lambda: gateway.published and gateway.waiters() == 3)

    (request,) = gateway.published
    reply_to(request)
    responses = [future.result() for future in waiting]

    assert {(a.status_code, a.data) for a in responses} == {(201, b"done")}
    assert {a.headers["X-Correlation-ID"] for a in responses} == {request.correlation_id}
    replayed = sorted(a.headers.get("Idempotent-Replayed", "") for a in responses)
    assert replayed == ["", "true", "true"]


def test_a_retry_at_another_replica_gets_the_same_reply(gateway, other, pool, reply_to):
    first = published_without_reply(gateway, pool)
    second = pool.submit(other.post)
    eventually(lambda: other.waiters() == 1)

    reply_to(gateway.published[0])

    assert_same(first.result(), second.result())
    assert other.published == []


def test_many_keys_from_many_clients_are_published_once_each(gateway, other, pool):
    keys = [f"key-{n}" for n in range(40)]

    def send(job):
        replica, key = job
        return key, replica.post(key, data=key.encode())

    gateway.publisher.responder = other.publisher.responder = lambda r: Reply.to(
        r, b"re: " + r.body
    )
    jobs = [(replica, key) for key in keys for replica in (gateway, other, gateway)]
    responses = list(pool.map(send, jobs))

    bodies = [request.body.decode() for request in gateway.published + other.published]
    assert sorted(bodies) == sorted(keys)
    assert all(response.data == f"re: {key}".encode() for key, response in responses)


def test_the_prefer_header_of_a_retry_applies_to_it(gateway, other, pool, reply_to):
    first = published_without_reply(gateway, pool)
    request = gateway.published[0]

    accepted = other.post(Prefer="respond-async")
    assert accepted.status_code == 202
    assert accepted.headers["Location"] == f"/replies/{request.correlation_id}"
    assert accepted.headers["X-Correlation-ID"] == request.correlation_id
    assert "Idempotent-Replayed" not in accepted.headers

    reply_to(request)
    assert_same(first.result(), other.post(Prefer="respond-async"))


def test_a_retry_that_times_out_reports_the_id_of_the_first_request(gateway, reply_to):
    gateway.publisher.responder = silent
    first = assert_problem(gateway.post(path="/hasty"), 503, "reply-timeout", "yes")

    again = gateway.post(path="/hasty")

    problem = assert_problem(again, 503, "reply-timeout", "unknown")
    assert again.headers["X-Correlation-ID"] == first["correlation_id"]
    assert problem["status_url"] == first["status_url"] == again.headers["Location"]
    assert "Idempotent-Replayed" not in again.headers

    reply_to(gateway.published[0])  # late
    late = gateway.post(path="/hasty")
    assert (late.status_code, late.data) == (201, b"done")
    assert late.headers["Idempotent-Replayed"] == "true"
    assert len(gateway.published) == 1


def test_a_cancelled_request_stays_cancelled_for_its_key(gateway, other, pool):
    first = published_without_reply(gateway, pool)
    waiting = pool.submit(other.post)
    eventually(lambda: other.waiters() == 1)

    url = f"/replies/{gateway.published[0].correlation_id}"
    assert other.app.test_client().delete(url).status_code == 204

    assert first.result().status_code == 410
    assert_same(first.result(), waiting.result())
    assert_same(first.result(), gateway.post())
    assert len(gateway.published) == 1


@pytest.mark.parametrize("has_reply", [True, False])
def test_another_request_with_the_same_key_is_rejected(gateway, other, pool, reply_to, has_reply):
    first = published_without_reply(gateway, pool)
    if has_reply:
        reply_to(gateway.published[0])
        first.result()

    assert_problem(other.post(data=b"coffee"), 422, "idempotency-key-reused", "no")
    assert other.published == []

    if not has_reply:
        reply_to(gateway.published[0])
    assert first.result().status_code == 201


def test_a_request_with_another_record_key_is_another_request(gateway):
    gateway.post(path="/keyed", X_Key="one")

    assert gateway.post(path="/keyed", X_Key="two").status_code == 422
    assert gateway.post(path="/keyed", X_Key="one").status_code == 200


def test_a_request_with_a_malformed_key_is_not_published(gateway):
    assert_problem(gateway.post("not a key"), 400, "idempotency-key-invalid", "no")
    assert gateway.published == []


def test_a_route_may_require_a_key(gateway):
    assert_problem(gateway.post(None, "/strict"), 400, "idempotency-key-missing", "no")
    assert gateway.published == []
    assert gateway.post("k", "/strict").status_code == 200
