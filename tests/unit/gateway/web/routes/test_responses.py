"""Routes: the response to each outcome of a request."""

import pytest

from rendezvous.contract import Outcome, Reply
from rendezvous.errors import UnusableReply
from rendezvous.kafka_client.producer import PublishRefused
from tests.fakes import eventually, raising
from tests.unit.gateway.web.routes.gateway import MAX_BODY_BYTES, assert_problem, assert_retry_after


@pytest.mark.parametrize("status", [200, 201, 400, 404, 410, 422, 500, 503, 599])
def test_the_response_has_the_status_body_and_content_type_of_the_reply(gateway, status):
    gateway.publisher.responder = lambda request: Reply.to(
        request, b"\x00answer\xff", status=status, content_type="application/x-own; a=b"
    )

    response = gateway.request(data=b"x")

    assert response.status_code == status
    assert response.data == b"\x00answer\xff"
    assert response.headers.getlist("Content-Type") == ["application/x-own; a=b"]
    assert response.headers["X-Correlation-ID"] == gateway.published.correlation_id


def test_a_reply_without_a_content_type_is_a_response_without_one(gateway):
    gateway.publisher.responder = lambda request: Reply.to(request, b"<b>")

    response = gateway.request(data=b"x")

    assert (response.status_code, response.data) == (200, b"<b>")
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_with_204_or_304_has_no_body(gateway, status):
    gateway.publisher.responder = lambda request: Reply.to(request, b"lost", status=status)

    response = gateway.request(data=b"x")

    assert (response.status_code, response.data) == (status, b"")


def test_a_response_with_205_has_an_empty_body_of_length_0(gateway):
    gateway.publisher.responder = lambda request: Reply.to(request, b"lost", status=205)

    response = gateway.request(data=b"x")

    assert (response.status_code, response.data) == (205, b"")
    assert response.headers.getlist("Content-Length") == ["0"]


@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_content_type_is_dropped_and_no_browser_guesses_one(gateway, status):
    gateway.publisher.responder = lambda request: Reply.to(
        request, b"<b>", status=status, content_type=""
    )

    response = gateway.request(data=b"x")

    assert "Content-Type" not in response.headers
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_headers_of_a_reply_are_forwarded_except_the_correlation_id(gateway):
    headers = [("x-many", "1"), ("x-many", "2"), ("etag", '"7"'), ("x-correlation-id", "own")]
    gateway.publisher.responder = lambda request: Reply.to(request, headers=headers)

    response = gateway.request(data=b"x")

    assert response.headers.getlist("X-Many") == ["1", "2"]
    assert response.headers["ETag"] == '"7"'
    assert response.headers.getlist("X-Correlation-ID") == [gateway.published.correlation_id]


def test_a_relative_location_of_the_responder_is_unchanged(gateway):
    gateway.publisher.responder = lambda request: Reply.to(
        request, status=201, headers=[("location", "/orders/7")]
    )

    assert gateway.request(data=b"x").headers["Location"] == "/orders/7"


def test_an_unusable_reply_is_a_bad_gateway(gateway):
    gateway.publisher.responder = lambda request: Reply.unusable(
        UnusableReply(request.correlation_id, "header 'status' is '42'")
    )

    response = gateway.request(data=b"x")

    problem = assert_problem(response, 502, "bad-reply", "yes")
    assert "'42'" in problem["detail"]
    assert "Location" not in response.headers


def test_a_responder_error_without_an_http_status_is_a_bad_gateway(gateway):
    gateway.publisher.responder = lambda request: Reply(
        request.correlation_id, status=502, outcome=Outcome.FAILED, detail="Error: no stock"
    )

    response = gateway.request(data=b"x")

    assert "no stock" in assert_problem(response, 502, "responder-error", "yes")["detail"]
    assert "Location" not in response.headers


@pytest.mark.parametrize(("acknowledged", "sent"), [(True, "yes"), (False, "unknown")])
def test_without_a_reply_the_response_is_a_timeout_with_the_location_of_the_reply(
    hasty, acknowledged, sent
):
    hasty.publisher.responder = lambda request: None
    hasty.publisher.acknowledges = acknowledged

    response = hasty.request(data=b"x")

    problem = assert_problem(response, 503, "reply-timeout", sent)
    assert problem["title"] == "Gateway Timeout"
    assert response.headers["Location"] == f"/replies/{hasty.published.correlation_id}"
    assert_retry_after(response)


def test_the_status_of_a_timeout_can_be_504(new_gateway):
    gateway = new_gateway(reply_timeout_s=0.05, reply_timeout_status=504)
    gateway.publisher.responder = lambda request: None

    assert_problem(gateway.request(data=b"x"), 504, "reply-timeout", "yes")


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
def test_a_refused_request_was_not_sent(gateway, when):
    gateway.publisher.responder = lambda request: None
    setattr(gateway.publisher, when, PublishRefused("topic 'echo' does not exist"))

    response = gateway.request(data=b"x")

    problem = assert_problem(response, 503, "not-sent", "no")
    assert "does not exist" in problem["detail"]
    assert "Location" not in response.headers
    assert_retry_after(response)


def test_an_unacknowledged_request_may_have_been_sent(hasty):
    hasty.publisher.responder = lambda request: None
    hasty.publisher.acknowledges = False
    hasty.publisher.failure = "the broker did not acknowledge it"

    response = hasty.request(data=b"x")

    assert_problem(response, 503, "not-sent", "unknown")
    assert response.headers["Location"] == f"/replies/{hasty.published.correlation_id}"
    assert_retry_after(response)


def test_nothing_is_published_while_redis_cannot_be_reached(gateway, redis_server, new_id):
    redis_server.connected = False
    with gateway.poller._mailbox.waiting_for(new_id().text):
        eventually(lambda: gateway.poller.store_error)

    response = gateway.request(data=b"x")

    assert_problem(response, 503, "reply-store-unavailable", "no")
    assert_retry_after(response)
    assert gateway.publisher.published == []


def test_a_redis_failure_during_the_wait_is_reported(new_gateway, redis_server):
    gateway = new_gateway(reply_timeout_s=0.2)
    gateway.publisher.responder = lambda request: None
    gateway.publisher.after_publish = lambda: setattr(redis_server, "connected", False)

    response = gateway.request(data=b"x")

    assert_problem(response, 503, "reply-store-unavailable", "yes")
    assert response.headers["Location"] == f"/replies/{gateway.published.correlation_id}"
    assert_retry_after(response)


def test_a_draining_process_still_handles_requests(gateway):
    gateway.draining[0] = True

    assert gateway.request(data=b"x").status_code == 200


def test_an_unknown_route_is_a_404_problem(gateway):
    problem = assert_problem(gateway.request(path="/nowhere", data=b"x"), 404, None, "no")

    assert problem["title"] == "Not Found"
    assert "POST /nowhere" in problem["detail"]
    assert "routes.toml" in problem["detail"]
    assert gateway.publisher.published == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/echo", {"POST"}),
        ("POST", "/orders/7", {"PUT", "DELETE"}),
        ("PUT", "/readyz", {"GET"}),
    ],
)
def test_a_wrong_method_is_a_405_problem_with_the_allowed_methods(gateway, method, path, allowed):
    response = gateway.request(method, path)

    assert_problem(response, 405, None, "no")
    assert allowed <= {name.strip() for name in response.headers["Allow"].split(",")}


def test_an_internal_error_is_a_500_problem_without_its_cause(gateway, caplog):
    gateway.publisher.responder = raising(RuntimeError("an internal secret"))

    response = gateway.request(data=b"x")

    assert_problem(response, 500, None)
    assert "its log has the cause" in response.get_json(force=True)["detail"]
    assert b"secret" not in response.data
    assert "an internal secret" in caplog.text


def test_every_outcome_frees_its_slot(new_gateway):
    gateway = new_gateway(reply_timeout_s=0.02, max_in_flight=1)
    gateway.publisher.responder = lambda request: None
    gateway.request(data=b"x")
    gateway.publisher.refused_at_once = PublishRefused("no")
    gateway.request(data=b"x")
    gateway.request(data=b"x" * (MAX_BODY_BYTES + 1))
    gateway.publisher.refused_at_once = None
    gateway.publisher.responder = lambda request: Reply.to(request)

    assert [gateway.request(data=b"x").status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("due_in_ms", [3_000, -30_000])
def test_a_reply_is_pending_until_it_would_expire(gateway, new_id, due_in_ms):
    cid = new_id(due_in_ms)

    response = gateway.request("GET", f"/replies/{cid.text}")

    assert response.status_code == 202
    assert response.get_json() == {
        "correlation_id": cid.text,
        "status": "pending",
        "status_url": f"/replies/{cid.text}",
    }
    assert int(response.headers["Retry-After"]) >= 1
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("text", ["x", "*", "%0A", "a" * 5_000, "%C3%A4", "%00", "..%2F"])
def test_a_malformed_correlation_id_is_unknown(gateway, text):
    response = gateway.request("GET", f"/replies/{text}")

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert len(response.data) < 1_000


def test_a_late_reply_can_be_fetched_twice_at_the_location_of_the_timeout(hasty, ids):
    hasty.publisher.responder = lambda request: None
    location = hasty.request(data=b"x").headers["Location"]
    pending = hasty.request("GET", location)
    request = hasty.published
    hasty.store.put_many([(ids.read(request.correlation_id), Reply.to(request, b"late"))])
    late = [hasty.request("GET", location) for _ in range(2)]

    assert pending.status_code == 202
    assert [(response.status_code, response.data) for response in late] == [(200, b"late")] * 2
