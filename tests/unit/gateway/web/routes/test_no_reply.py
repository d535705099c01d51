"""Routes whose responder sends no reply: the response says what Kafka has."""

import pytest

from gateway.routing.table import Route
from rendezvous.contract import NO_DEADLINE_MS, Reply
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge
from tests.unit.apps import new_app
from tests.unit.gateway.web.routes.gateway import assert_problem

ROUTES = (Route("/events", "topic", reply="none", idempotency="off"), Route("/waits", "topic"))


@pytest.fixture
def client(poller, publisher, redis):
    return new_app(ROUTES, poller, publisher, redis, reply_timeout_s=0.1).test_client()


@pytest.fixture(autouse=True)
def no_reply(publisher):
    publisher.responder = lambda request: None


def test_the_response_is_a_202_as_soon_as_kafka_has_the_request(client, publisher):
    response = client.post("/events", data=b"x", headers={"Prefer": "wait=9"})

    (request,) = publisher.published
    assert response.status_code == 202
    assert response.get_json() == {"correlation_id": request.correlation_id, "status": "accepted"}
    assert response.headers["X-Correlation-ID"] == request.correlation_id
    assert response.headers["Cache-Control"] == "no-store"
    for name in ("Location", "Retry-After", "Preference-Applied"):
        assert name not in response.headers


def test_the_record_asks_for_no_reply_and_has_no_deadline(client, publisher):
    client.post("/events", data=b"x")

    (request,) = publisher.published
    assert (request.reply_topic, request.deadline_ms) == ("", NO_DEADLINE_MS)
    _, value, headers = request.encode()
    assert value == b"x"
    assert not {"reply-topic", "kafka_replyTopic", "REPLY_TOPIC", "reply_to"} & dict(headers).keys()
    assert type(request).decode("topic", None, value, headers).reply_topic == ""


def test_a_reply_that_comes_nevertheless_belongs_to_nobody(client, publisher):
    publisher.responder = lambda request: Reply.to(request, b"uncalled for")
    accepted = client.post("/events", data=b"x")
    cid = accepted.headers["X-Correlation-ID"]

    assert accepted.status_code == 202
    for method in ("GET", "DELETE"):
        response = client.open(f"/replies/{cid}", method=method)
        assert_problem(response, 404, "unknown-reply")


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(PublishRefused, 503, "not-sent"), (PublishTooLarge, 413, "too-large")],
)
def test_a_refused_request_was_not_sent(client, publisher, when, error, status, kind):
    setattr(publisher, when, error("it was refused"))

    assert_problem(client.post("/events", data=b"x"), status, kind, "no")


@pytest.mark.parametrize("failure", ["the broker is gone", None])
def test_without_an_acknowledgement_the_request_may_be_in_kafka(client, publisher, failure):
    publisher.acknowledges, publisher.failure = False, failure
    response = client.post("/events", data=b"x")

    problem = assert_problem(response, 503, "not-sent", "unknown")
    assert failure or "did not acknowledge it within 0.1 s" in problem["detail"]
    assert response.headers["X-Correlation-ID"] == publisher.published[0].correlation_id
    assert "Location" not in response.headers
    assert "status_url" not in problem


def test_the_breaker_neither_counts_nor_rejects(client, caplog):
    for _ in range(10):
        client.post("/waits")
    assert "circuit breaker of topic topic opened" in caplog.text

    for _ in range(10):
        assert client.post("/events").status_code == 202
    assert "closed" not in caplog.text


def test_nothing_is_needed_of_redis(client, redis_server):
    redis_server.connected = False

    assert client.post("/events", data=b"x").status_code == 202


def test_an_idempotency_key_is_not_claimed(client, publisher):
    for _ in range(2):
        assert client.post("/events", headers={"Idempotency-Key": "k"}).status_code == 202

    assert len(publisher.published) == 2
