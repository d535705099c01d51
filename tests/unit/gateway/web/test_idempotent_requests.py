"""Requests with an Idempotency-Key, over two gateways that share one Redis."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.clients.client import Client
from gateway.exchange.breaker import MIN_ENDED, Breakers
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


class MutedClaims(Claims):
    """Claims of which some questions are not answered."""

    def __init__(self, redis: Any, deployment: str) -> None:
        super().__init__(redis, deployment)
        self.unanswered: set[str] = set()

    def take(self, *args: Any) -> Any:
        return self._answer("take", super().take(*args))

    def confirm(self, *args: Any) -> Any:
        return self._answer("confirm", super().confirm(*args))

    def holder(self, *args: Any) -> Any:
        return self._answer("holder", super().holder(*args))

    def free(self, *args: Any) -> None:
        if "free" in self.unanswered:
            raise StoreUnavailable("Redis does not answer")
        super().free(*args)

    def _answer(self, question: str, answer: Any) -> Any:
        """Done, but nobody hears of it."""
        if question in self.unanswered:
            raise StoreUnavailable("Redis does not answer")
        return answer


@dataclass
class Gateway:
    """One gateway process, with a broker of its own that the test plays."""

    app: Any
    publisher: FakePublisher
    mailbox: Mailbox
    breakers: Breakers
    claims: MutedClaims

    def post(self, key: str | None = "k", path: str = "/orders", data: bytes = b"tea", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["Idempotency-Key"] = key
        return self.app.test_client().post(path, data=data, headers=named)

    @property
    def published(self):
        return self.publisher.published

    def waiters(self) -> int:
        return sum(waiter.holders for waiter in list(self.mailbox._waiters.values()))


@pytest.fixture
def new_gateway(ids, store, redis):
    mailboxes = []

    def build():
        mailbox = Mailbox(store)
        mailbox.start()
        mailboxes.append(mailbox)
        publisher = FakePublisher(store, ids)
        breakers = Breakers({route.topic: route.timeout_s or PATIENT_S for route in ROUTES})
        claims = MutedClaims(redis, ids.deployment)
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
    """Have the reply to a request arrive."""

    def arrive(request, body=b"done", status=201):
        reply = Reply.to(request, body, status=status, content_type="text/plain")
        store.put_many([(ids.read(request.correlation_id), reply)])

    return arrive


def silent(request):
    return None


def assert_same(first, again):
    """The second answer is the first one, and says that it is."""
    assert (again.status_code, again.data) == (first.status_code, first.data)
    ours = {"Idempotent-Replayed"}
    assert [h for h in again.headers if h[0] not in ours] == list(first.headers)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"


def assert_problem(response, status, kind, sent):
    assert response.status_code == status, response.text
    problem = response.get_json(force=True)
    assert (problem["type"], problem["sent"]) == (f"/problems/{kind}", sent)
    return problem


# After the first has been answered


@pytest.mark.parametrize("status", [200, 201, 204, 400, 409, 422, 500, 503])
def test_a_repeated_request_gets_the_reply_to_the_first_errors_included(gateway, other, status):
    gateway.publisher.answer = lambda request: Reply.to(
        request, b"\x00first", status=status, content_type="a/b", headers=[("location", "/o/7")]
    )

    first = gateway.post()
    again = [replica.post() for replica in (gateway, other)]

    assert first.status_code == status
    for answer in again:
        assert_same(first, answer)
    assert (len(gateway.published), other.published) == (1, [])


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(Outcome.UNUSABLE, "bad-reply"), (Outcome.FAILED, "responder-error")],
)
def test_a_reply_that_is_no_response_is_replayed_as_such(gateway, other, outcome, kind):
    gateway.publisher.answer = lambda request: Reply(
        request.correlation_id, status=502, outcome=outcome, detail="because"
    )

    first, again = gateway.post(), other.post()

    assert_problem(first, 502, kind, "yes")
    assert_same(first, again)


def test_a_key_in_quotes_is_the_same_bare(gateway):
    assert_same(gateway.post("k-1"), gateway.post('"k-1"'))


def test_another_key_is_another_request(gateway):
    first, second = gateway.post("k-1"), gateway.post("k-2")

    assert len(gateway.published) == 2
    assert first.headers["X-Correlation-ID"] != second.headers["X-Correlation-ID"]
    assert "Idempotent-Replayed" not in second.headers


def test_without_a_key_each_request_is_one_of_its_own(gateway):
    assert "Idempotent-Replayed" not in gateway.post(None).headers
    assert "Idempotent-Replayed" not in gateway.post(None).headers
    assert len(gateway.published) == 2


def test_the_keys_of_two_clients_are_two_keys(gateway, monkeypatch):
    caller = [Client("anna")]
    monkeypatch.setattr("gateway.web.routes.current_client", lambda: caller[0])
    # Somebody who looks at requests: so it is with keys.
    gateway.app.before_request_funcs[None] = [lambda: None]
    first = gateway.post()
    caller[0] = Client("bert")
    second = gateway.post(data=b"something else")

    assert first.status_code == second.status_code == 200
    assert len(gateway.published) == 2
    caller[0] = Client("anna")
    assert_same(first, gateway.post())


def test_a_replay_needs_no_kafka_and_passes_an_open_breaker(gateway, other):
    first = gateway.post()
    other.publisher.refused_at_once = PublishRefused("no broker")
    breaker = other.breakers._by_topic["orders"]
    breaker.is_open = True
    breaker._in_flight = 3  # its probes are taken

    assert_problem(other.post("new"), 503, "responder-silent", "no")
    assert_same(first, other.post())


def test_replays_tell_nothing_about_a_responder(gateway, pool):
    gateway.publisher.answer = silent
    first = gateway.post(path="/hasty")
    again = list(pool.map(lambda _: gateway.post(path="/hasty"), range(MIN_ENDED + 2)))

    assert_problem(first, 503, "reply-timeout", "yes")
    for answer in again:
        assert_problem(answer, 503, "reply-timeout", "unknown")
    assert len(gateway.published) == 1
    assert len(gateway.breakers._by_topic["hasty"]._endings) == 1


# While the first is in flight


def test_of_those_that_come_together_one_is_published_and_all_get_its_reply(
    gateway, pool, reply_to
):
    gateway.publisher.answer = silent
    waiting = [pool.submit(gateway.post) for _ in range(3)]
    # Who is published waits a moment earlier.
    eventually(lambda: gateway.published and gateway.waiters() == 3)

    (request,) = gateway.published
    reply_to(request)
    answers = [answer.result() for answer in waiting]

    assert {(a.status_code, a.data) for a in answers} == {(201, b"done")}
    assert {a.headers["X-Correlation-ID"] for a in answers} == {request.correlation_id}
    assert sorted(a.headers.get("Idempotent-Replayed", "") for a in answers) == ["", "true", "true"]


def test_who_comes_to_another_replica_joins_as_well(gateway, other, pool, reply_to):
    gateway.publisher.answer = silent
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

    gateway.publisher.answer = other.publisher.answer = lambda r: Reply.to(r, b"re: " + r.body)
    jobs = [(replica, key) for key in keys for replica in (gateway, other, gateway)]
    answers = list(pool.map(send, jobs))

    bodies = [request.body.decode() for request in gateway.published + other.published]
    assert sorted(bodies) == sorted(keys)
    assert all(answer.data == f"re: {key}".encode() for key, answer in answers)


def test_who_joins_waits_on_its_own_terms(gateway, other, pool, reply_to):
    gateway.publisher.answer = silent
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
    request = gateway.published[0]

    at_once = other.post(Prefer="respond-async")
    assert at_once.status_code == 202
    assert at_once.headers["Location"] == f"/replies/{request.correlation_id}"
    assert at_once.headers["X-Correlation-ID"] == request.correlation_id
    assert "Idempotent-Replayed" not in at_once.headers

    reply_to(request)
    assert_same(first.result(), other.post(Prefer="respond-async"))


def test_who_joins_in_vain_is_told_of_the_first_request(gateway, reply_to):
    gateway.publisher.answer = silent
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


def test_a_request_that_is_cancelled_stays_cancelled_for_its_key(gateway, other, pool):
    gateway.publisher.answer = silent
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


@pytest.mark.parametrize("is_answered", [True, False])
def test_another_request_with_the_same_key_is_refused(gateway, other, pool, reply_to, is_answered):
    gateway.publisher.answer = silent
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
    if is_answered:
        reply_to(gateway.published[0])
        first.result()

    assert_problem(other.post(data=b"coffee"), 422, "idempotency-key-reused", "no")
    assert other.published == []

    if not is_answered:
        reply_to(gateway.published[0])
    assert first.result().status_code == 201


def test_the_record_key_counts(gateway):
    gateway.post(path="/keyed", X_Key="one")

    assert gateway.post(path="/keyed", X_Key="two").status_code == 422
    assert gateway.post(path="/keyed", X_Key="one").status_code == 200


# What is no key


def test_a_key_that_is_none_is_told_and_nothing_is_published(gateway):
    assert_problem(gateway.post("not a key"), 400, "idempotency-key-invalid", "no")
    assert gateway.published == []


def test_a_route_may_ask_for_a_key(gateway):
    assert_problem(gateway.post(None, "/strict"), 400, "idempotency-key-missing", "no")
    assert gateway.published == []
    assert gateway.post("k", "/strict").status_code == 200


# What frees a key, and what does not


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
@pytest.mark.parametrize(
    ("refusal", "status", "kind"),
    [(PublishRefused("no"), 503, "not-sent"), (PublishTooLarge("no"), 413, "too-large")],
)
def test_what_was_refused_frees_the_key(gateway, other, when, refusal, status, kind):
    gateway.publisher.answer = silent
    setattr(gateway.publisher, when, refusal)
    assert_problem(gateway.post(), status, kind, "no")

    again = other.post(data=b"even another request")

    assert again.status_code == 200
    assert "Idempotent-Replayed" not in again.headers


def test_a_breaker_that_refuses_frees_the_key(gateway, other):
    breaker = gateway.breakers._by_topic["orders"]
    breaker.is_open, breaker._in_flight = True, 3
    assert_problem(gateway.post(), 503, "responder-silent", "no")

    assert other.post().status_code == 200


def test_what_may_be_in_kafka_does_not_free_the_key(gateway, other, pool, reply_to):
    gateway.publisher.answer = silent
    gateway.publisher.acknowledges = False
    gateway.publisher.trouble = "the broker did not acknowledge it"
    assert_problem(gateway.post(path="/hasty"), 503, "not-sent", "unknown")

    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")
    assert other.published == []

    reply_to(gateway.published[0])
    assert other.post(path="/hasty").status_code == 201


def test_a_failure_of_our_own_after_publishing_does_not_free_the_key(gateway, other):
    gateway.publisher.answer = silent

    def fails():
        raise RuntimeError("a bug")

    gateway.publisher.then = fails
    assert gateway.post(path="/hasty").status_code == 500

    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")


def test_when_the_first_is_refused_one_of_those_who_wait_goes_instead(gateway, other, pool):
    entered: list[bool] = []
    refuse: list[bool] = []

    def refused_after_a_while():
        entered.append(True)
        eventually(lambda: refuse)
        raise PublishRefused("no broker")

    gateway.publisher.answer = silent
    gateway.publisher.then = refused_after_a_while
    first = pool.submit(gateway.post)
    eventually(lambda: entered)
    waiting = [pool.submit(other.post) for _ in range(2)]
    eventually(lambda: other.waiters() == 2)
    refuse.append(True)

    assert_problem(first.result(), 503, "not-sent", "no")
    answers = [answer.result() for answer in waiting]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sorted("Idempotent-Replayed" in answer.headers for answer in answers) == [False, True]
    assert len(other.published) == 1


def test_who_waits_in_the_same_process_goes_instead_too(gateway, pool):
    refuse: list[bool] = []

    def refused_later():
        eventually(lambda: refuse)
        gateway.publisher.then = lambda: None
        gateway.publisher.answer = lambda request: Reply.to(request)
        gateway.mailbox.settle(gateway.published[0].correlation_id, PublishRefused("denied"))

    gateway.publisher.answer = silent
    gateway.publisher.then = refused_later
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
    second = pool.submit(gateway.post)
    eventually(lambda: gateway.waiters() == 2)
    refuse.append(True)

    assert_problem(first.result(), 503, "not-sent", "no")
    assert second.result().status_code == 200
    assert len(gateway.published) == 2


def test_whatever_is_refused_and_whoever_waits_no_key_is_taken_by_kafka_twice(gateway, other, pool):
    chance = random.Random(1)
    taken: list[bytes] = []

    def refuses_every_other(request):
        if chance.random() < 0.5:
            raise PublishRefused("no")
        taken.append(request.body)
        return Reply.to(request, b"%d" % len(taken))

    gateway.publisher.answer = other.publisher.answer = refuses_every_other
    keys = [f"key-{n}" for n in range(50)]
    jobs = [(replica, key) for key in keys for replica in (gateway, other) * 2]
    answers = list(pool.map(lambda job: job[0].post(job[1], data=job[1].encode()), jobs))

    assert len(taken) == len(set(taken)) > 25
    assert len(gateway.published + other.published) > len(taken) + 10
    for key in keys:
        of_key = [a for (_, k), a in zip(jobs, answers, strict=True) if k == key]
        replied = {a.data for a in of_key if a.status_code == 200}
        assert len(replied) == (key.encode() in taken)
        for refused in (a for a in of_key if a.status_code != 200):
            assert_problem(refused, 503, "not-sent", "no")


def test_who_waited_too_long_for_a_request_that_was_refused_is_told_to_send_it_again(
    gateway, other, pool, redis
):
    gateway.publisher.answer = silent
    first = pool.submit(gateway.post, path="/hasty")
    eventually(lambda: gateway.published)
    found: list[object] = []
    holder = other.claims.holder

    def noted(name):
        found.append(holder(name))
        return found[-1]

    other.claims.holder = noted
    second = pool.submit(other.post, path="/hasty")
    eventually(lambda: found)  # it has seen that the claim holds, and waits
    redis.delete(*redis.keys("once:*"))

    assert_problem(second.result(), 503, "not-sent", "no")
    assert other.published == []
    first.result()


def test_a_key_whose_process_died_before_it_published_is_soon_free(gateway, other, pool):
    died = []

    def dies(*_):
        died.append(True)
        raise SystemExit

    gateway.claims.confirm = dies
    with pytest.raises(SystemExit):
        gateway.post()
    assert died

    assert other.post().status_code == 200  # within its own deadline


def test_who_finds_no_broker_frees_the_key(gateway, other):
    def not_connected():
        raise PublishRefused("no broker")

    gateway.publisher.connect = not_connected
    assert_problem(gateway.post(), 503, "not-sent", "no")

    assert other.post(data=b"even another request").status_code == 200


def test_who_waits_for_a_broker_holds_no_claim_for_long(gateway, other, pool):
    waits: list[bool] = []
    released: list[bool] = []

    def connects_late():
        waits.append(True)
        eventually(lambda: released)

    gateway.publisher.connect = connects_late
    first = pool.submit(gateway.post)
    eventually(lambda: waits)

    # A replica that has a broker goes first as soon as the claim of the other one is gone.
    second = other.post()
    released.append(True)

    assert_same(second, first.result())
    assert (gateway.published, len(other.published)) == ([], 1)


# Redis


@pytest.mark.parametrize("question", ["take", "confirm"])
def test_when_redis_is_silent_nothing_is_published_and_the_key_is_free_again(
    gateway, other, question
):
    gateway.claims.unanswered = {question}
    assert_problem(gateway.post(), 503, "reply-store-unavailable", "no")
    assert gateway.published == []

    assert other.post().status_code == 200


def test_when_redis_is_gone_nothing_is_published(gateway, redis_server):
    redis_server.connected = False

    assert_problem(gateway.post(), 503, "reply-store-unavailable", "no")
    assert gateway.published == []


def test_a_key_that_cannot_be_freed_stays_and_the_log_says_so(gateway, other, caplog):
    gateway.publisher.refused_at_once = PublishRefused("no")
    gateway.claims.unanswered = {"free"}
    assert_problem(gateway.post(path="/hasty"), 503, "not-sent", "no")

    assert "its idempotency key stays taken for up to 600 s" in caplog.text
    assert_problem(other.post(path="/hasty"), 503, "reply-timeout", "unknown")


def test_who_cannot_see_the_claim_goes_on_waiting(gateway, other, pool, reply_to):
    gateway.publisher.answer = silent
    other.claims.unanswered = {"holder"}
    first = pool.submit(gateway.post)
    eventually(lambda: gateway.published)
    second = pool.submit(other.post)
    eventually(lambda: other.waiters() == 1)
    waiter = next(iter(other.mailbox._waiters.values()))
    asked: list[str] = []
    other.claims._answer = _noting(other.claims._answer, asked)
    eventually(lambda: asked)  # for the claim, in vain
    assert waiter.holders == 1

    reply_to(gateway.published[0])
    assert_same(first.result(), second.result())


def _noting(answer, asked):
    def noted(question, found):
        asked.append(question)
        return answer(question, found)

    return noted


# Time


def test_claim_and_reply_are_kept_equally_long(gateway, redis):
    response = gateway.post()

    (reply_key,) = redis.keys("reply:*")
    (claim_key,) = redis.keys("once:*")
    kept_ms = {redis.pttl(reply_key), redis.pttl(claim_key)}
    assert max(kept_ms) - min(kept_ms) < 2_000
    assert TTL_S * 1000 < min(kept_ms) <= (PATIENT_S + TTL_S) * 1000
    assert response.headers["X-Correlation-ID"].split(".")[1].endswith(f"-{TTL_S}")


def test_a_reply_to_a_request_without_key_is_kept_no_longer_than_before(gateway, redis):
    gateway.post(None)

    assert redis.pttl(redis.keys("reply:*")[0]) <= (PATIENT_S + 60) * 1000
    assert redis.keys("once:*") == []


def test_once_it_is_forgotten_a_key_is_a_new_one(gateway, redis):
    gateway.post()
    redis.pexpire(redis.keys("once:*")[0], 1)
    eventually(lambda: not redis.keys("once:*"))

    assert "Idempotent-Replayed" not in gateway.post().headers
    assert len(gateway.published) == 2


def test_the_key_does_not_stand_in_redis(gateway, redis):
    gateway.post("a-secret-of-the-client")

    assert all(b"secret" not in key for key in redis.keys("*"))
