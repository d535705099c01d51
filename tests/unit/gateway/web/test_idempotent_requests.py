"""Requests with an Idempotency-Key, over two gateways that share one Redis."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.clients.client import Client
from gateway.exchange.breaker import MIN_FINISHED, PROBES, Breakers
from gateway.exchange.claims import Claims
from gateway.exchange.mailbox import Mailbox
from gateway.routing.table import Route
from rendezvous.contract import Outcome, Reply
from rendezvous.errors import StoreUnavailable
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge
from tests.fakes import FakePublisher, eventually
from tests.unit.apps import new_app

TTL_S = 600
PATIENT_S, HASTY_S = 10.0, 0.2
ROUTES = (
    Route("/orders", "orders"),
    Route("/hasty", "hasty", timeout_s=HASTY_S),
    Route("/strict", "strict", idempotency="required"),
    Route("/keyed", "keyed", key="header:X-Key"),
)


class FailingClaims(Claims):
    """Claims whose methods in *failing* raise: release() before Redis acts, the others after it."""

    def __init__(self, redis: Any, deployment: str) -> None:
        super().__init__(redis, deployment)
        self.failing: set[str] = set()

    def take(self, *args: Any) -> Any:
        return self._result("take", super().take(*args))

    def confirm(self, *args: Any) -> Any:
        return self._result("confirm", super().confirm(*args))

    def current(self, *args: Any) -> Any:
        return self._result("current", super().current(*args))

    def release(self, *args: Any) -> None:
        self._result("release", None)
        super().release(*args)

    def _result(self, method: str, result: Any) -> Any:
        if method in self.failing:
            raise StoreUnavailable("Redis does not answer")
        return result


@dataclass
class Gateway:
    """One gateway process with its own fake broker."""

    app: Any
    publisher: FakePublisher
    mailbox: Mailbox
    breakers: Breakers
    claims: FailingClaims

    def post(self, key: str | None = "k", path: str = "/orders", data: bytes = b"tea", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Idempotency-Key"] = key
        return self.app.test_client().post(path, data=data, headers=named)

    @property
    def published(self):
        return self.publisher.published

    def waiters(self) -> int:
        return sum(waiter.clients for waiter in list(self.mailbox._waiters.values()))


@pytest.fixture
def new_gateway(ids, store, redis):
    mailboxes = []

    def build():
        mailbox = Mailbox(store)
        mailbox.start()
        mailboxes.append(mailbox)
        publisher = FakePublisher(store, ids)
        breakers = Breakers({route.topic: route.timeout_s or PATIENT_S for route in ROUTES})
        claims = FailingClaims(redis, ids.deployment)
        app = new_app(
            ROUTES,
            mailbox,
            publisher,
            redis,
            reply_timeout_s=PATIENT_S,
            max_in_flight=50,
            idempotency_ttl_s=TTL_S,
            parts={"claims": claims, "breakers": breakers},
        )
        return Gateway(app, publisher, mailbox, breakers, claims)

    yield build
    for mailbox in mailboxes:
        mailbox.close()


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


@pytest.fixture
def other(new_gateway):
    """Another replica."""
    return new_gateway()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as clients:
        yield clients


@pytest.fixture
def reply_to(store, ids):
    """Store the reply to a request."""

    def store_reply(request, body=b"done", status=201):
        reply = Reply.to(request, body, status=status, content_type="text/plain")
        store.put_many([(ids.read(request.correlation_id), reply)])

    return store_reply


def silent(request):
    return None


def assert_same(first, again):
    """The second response equals the first one and is marked as a replay."""
    assert (again.status_code, again.data) == (first.status_code, first.data)
    others = [header for header in again.headers if header[0] != "Idempotent-Replayed"]
    assert others == list(first.headers)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


def assert_problem(response, status, kind, sent):
    assert response.status_code == status, response.text
    problem = response.get_json(force=True)
    assert (problem["type"], problem["sent"]) == (f"/problems/{kind}", sent)
    return problem


# After the reply to the first request


@pytest.mark.parametrize("status", [200, 201, 204, 400, 409, 422, 500, 503])
def test_a_retry_gets_the_reply_to_the_first_request_whatever_its_status(gateway, other, status):
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
    ("outcome", "kind"),
    [(Outcome.UNUSABLE, "bad-reply"), (Outcome.FAILED, "responder-error")],
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
    # A hook, as API-key authentication has one: no fast path.
    gateway.app.before_request_funcs[None] = [lambda: None]
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
    breaker.is_open, breaker._in_flight = True, PROBES

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
    assert len(gateway.breakers._by_topic["hasty"]._finished) == 1


# While the first request is pending


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
    assert sorted(a.headers.get("Idempotent-Replayed", "") for a in responses) == [
        "",
        "true",
        "true",
    ]


def test_a_retry_at_another_replica_gets_the_same_reply(gateway, other, pool, reply_to):
    gateway.publisher.responder = silent
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
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


def test_a_retry_waits_as_it_asks_for_itself(gateway, other, pool, reply_to):
    gateway.publisher.responder = silent
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
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
    gateway.publisher.responder = silent
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
    waiting = pool.submit(other.post)
    eventually(lambda: other.waiters() == 1)

    url = f"/replies/{gateway.published[0].correlation_id}"
    assert other.app.test_client().delete(url).status_code == 204

    assert first.result().status_code == 410
    assert_same(first.result(), waiting.result())
    assert_same(first.result(), gateway.post())
    assert len(gateway.published) == 1


# Another request with the same key


@pytest.mark.parametrize("has_reply", [True, False])
def test_another_request_with_the_same_key_is_rejected(gateway, other, pool, reply_to, has_reply):
    gateway.publisher.responder = silent
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
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


# Missing and malformed keys


def test_a_request_with_a_malformed_key_is_not_published(gateway):
    assert_problem(gateway.post("not a key"), 400, "idempotency-key-invalid", "no")
    assert gateway.published == []


def test_a_route_may_require_a_key(gateway):
    assert_problem(gateway.post(None, "/strict"), 400, "idempotency-key-missing", "no")
    assert gateway.published == []
    assert gateway.post("k", "/strict").status_code == 200


# What releases a key, and what does not


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
    breaker.is_open, breaker._in_flight = True, PROBES
    assert_problem(gateway.post(), 503, "responder-silent", "no")

    assert other.post().status_code == 200


def test_a_request_that_may_be_in_kafka_keeps_its_key(gateway, other, pool, reply_to):
    gateway.publisher.responder = silent
    gateway.publisher.acknowledges = False
    gateway.publisher.trouble = "the broker did not acknowledge it"
    assert_problem(gateway.post(path="/hasty"), 503, "not-sent", "unknown")

    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")
    assert other.published == []

    reply_to(gateway.published[0])
    assert other.post(path="/hasty").status_code == 201


def test_an_internal_error_after_publishing_keeps_the_key(gateway, other):
    gateway.publisher.responder = silent

    def fails():
        raise RuntimeError("a bug")

    gateway.publisher.after_publish = fails
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
    assert sorted("Idempotent-Replayed" in response.headers for response in responses) == [
        False,
        True,
    ]
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


def test_a_retry_with_too_little_time_left_to_be_published_is_to_be_sent_again(
    gateway, other, pool, redis
):
    gateway.publisher.responder = silent
    first = pool.submit(gateway.post, path="/hasty")
    eventually(lambda: gateway.published)
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


def test_the_key_of_a_process_that_died_before_publishing_is_soon_free(gateway, other, pool):
    def die(*_):
        raise SystemExit

    gateway.claims.confirm = die
    with pytest.raises(SystemExit):
        gateway.post()

    assert other.post().status_code == 200  # within its own deadline


def test_a_request_without_a_broker_releases_its_key(gateway, other):
    def not_connected():
        raise PublishRefused("no broker")

    gateway.publisher.on_await_broker = not_connected
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


# Redis


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


def test_a_key_that_cannot_be_released_stays_claimed_and_is_logged(gateway, other, caplog):
    gateway.publisher.refused_at_once = PublishRefused("no")
    gateway.claims.failing = {"release"}
    assert_problem(gateway.post(path="/hasty"), 503, "not-sent", "no")

    assert "its idempotency key stays claimed for up to 600 s" in caplog.text
    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")


def test_a_retry_that_cannot_read_the_claim_goes_on_waiting(gateway, other, pool, reply_to):
    gateway.publisher.responder = silent
    other.claims.failing = {"current"}
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
    second = pool.submit(other.post)
    eventually(lambda: other.waiters() == 1)
    waiter = next(iter(other.mailbox._waiters.values()))
    reads: list[str] = []
    other.claims._result = _recording(other.claims._result, reads)
    eventually(lambda: reads)
    assert waiter.clients == 1

    reply_to(gateway.published[0])
    assert_same(first.result(), second.result())


def _recording(result, methods):
    def recording(method, found):
        methods.append(method)
        return result(method, found)

    return recording


# Time


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
