"""Prefer on routes: how long the client waits, and 202 responses."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.clients.admission import QUEUED_ENVIRON_KEY
from gateway.exchange.breaker.topic_breaker import Breakers
from gateway.exchange.cancellation import cancellation
from rendezvous.contract import Reply
from rendezvous.correlation import epoch_ms
from rendezvous.kafka_client.producer import PublishRefused
from tests.fakes import eventually
from tests.unit.gateway.web.routes.gateway import assert_problem


@pytest.mark.parametrize(
    ("path", "prefer", "deadline_s"),
    [
        ("/echo", "", 10),
        ("/echo", "wait=2", 2),
        ("/echo", "wait=20", 10),
        ("/echo", "wait=0", 1),
        ("/echo", "wait=soon", 10),
        ("/echo", "respond-async, wait=2", 10),
        ("/patient", "", 10),
        ("/patient", "wait=15", 15),
        ("/patient", "wait=60", 20),
        ("/patient", "respond-async", 20),
        ("/slow", "", 5),
        ("/slow", "wait=2", 2),
        ("/slow", "wait=60", 8),
    ],
)
def test_the_deadline_of_the_responder_follows_from_prefer_and_the_route(
    gateway, path, prefer, deadline_s
):
    before_ms = epoch_ms()
    gateway.request(path=path, headers={"Prefer": prefer})

    due_ms = gateway.published.deadline_ms - before_ms
    assert deadline_s * 1_000 <= due_ms < deadline_s * 1_000 + 900


def test_the_time_in_the_queue_counts_towards_the_deadline(gateway):
    gateway.publisher.responder = lambda request: None
    before_ms, began_s = epoch_ms(), time.monotonic()
    response = gateway.request(
        headers={"Prefer": "wait=3"}, environ_overrides={QUEUED_ENVIRON_KEY: 2.5}
    )

    assert 500 <= gateway.published.deadline_ms - before_ms < 1_400
    assert time.monotonic() - began_s < 2.0
    # What the client asked for, and got.
    assert "within 3 s" in assert_problem(response, 503, "reply-timeout", "yes")["detail"]
    assert response.headers["Preference-Applied"] == "wait=3"


def test_a_client_that_prefers_a_shorter_wait_times_out_sooner(gateway):
    gateway.publisher.responder = lambda request: None

    response = gateway.request(headers={"Prefer": "wait=1"})

    problem = assert_problem(response, 503, "reply-timeout", "yes")
    assert "within 1 s" in problem["detail"]
    assert response.headers["Preference-Applied"] == "wait=1"
    assert response.headers["Vary"] == "Prefer, Accept"


def test_a_client_that_prefers_a_longer_wait_gets_a_late_reply(hasty, ids):
    hasty.publisher.responder = lambda request: None
    with ThreadPoolExecutor(1) as client:
        response = client.submit(
            lambda: hasty.request(path="/patient", headers={"Prefer": "wait=15"})
        )
        eventually(lambda: hasty.publisher.published)
        with pytest.raises(TimeoutError):
            response.result(0.5)  # five times the default
        cid = ids.read(hasty.published.correlation_id)
        hasty.store.put_many([(cid, Reply(cid.text, b"late"))])
        late = response.result(10)

    assert (late.status_code, late.data) == (200, b"late")
    assert late.headers["Preference-Applied"] == "wait=15"


@pytest.mark.parametrize(
    ("prefer", "has_reply", "status", "applied"),
    [
        ("", True, 200, None),
        ("handling=strict", True, 200, None),
        ("wait=3", True, 200, "wait=3"),
        ("WAIT=60", True, 200, "wait=10"),
        ("respond-async", False, 202, "respond-async"),
        ("respond-async, wait=1", False, 202, "respond-async, wait=1"),
        ("respond-async, wait=5", True, 200, "wait=5"),
    ],
)
def test_preference_applied_lists_the_preferences_that_were_applied(
    gateway, prefer, has_reply, status, applied
):
    if not has_reply:
        gateway.publisher.responder = lambda request: None

    response = gateway.request(headers={"Prefer": prefer})

    assert response.status_code == status
    assert response.headers.get("Preference-Applied") == applied
    assert response.headers.getlist("Vary") == ([] if applied is None else ["Prefer"])


def test_several_prefer_headers_count_as_one(gateway):
    gateway.publisher.responder = lambda request: None

    response = gateway.request(headers=[("Prefer", "wait=1"), ("Prefer", "respond-async, wait=9")])

    assert response.headers["Preference-Applied"] == "respond-async, wait=1"


def test_vary_of_the_reply_is_kept(gateway):
    gateway.publisher.responder = lambda request: Reply.to(
        request, headers=[("vary", "Accept"), ("vary", "Origin")]
    )

    response = gateway.request(headers={"Prefer": "wait=3"})

    assert response.headers.getlist("Vary") == ["Accept", "Origin", "Prefer"]


def test_a_202_contains_the_location_of_the_reply(gateway):
    gateway.publisher.responder = lambda request: None

    response = gateway.request(headers={"Prefer": "respond-async"})

    cid = gateway.published.correlation_id
    assert response.status_code == 202
    assert response.json["correlation_id"] == response.headers["X-Correlation-ID"] == cid
    assert response.headers["Location"] == response.json["status_url"] == f"/replies/{cid}"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
def test_a_refused_request_gets_no_202(gateway, when):
    gateway.publisher.responder = lambda request: None
    setattr(gateway.publisher, when, PublishRefused("denied"))

    response = gateway.request(headers={"Prefer": "respond-async"})

    assert_problem(response, 503, "not-sent", "no")
    assert "Preference-Applied" not in response.headers


def test_an_unacknowledged_request_gets_no_202(hasty):
    hasty.publisher.responder = lambda request: None
    hasty.publisher.acknowledges = False

    response = hasty.request(headers={"Prefer": "respond-async"})

    assert_problem(response, 503, "not-sent", "unknown")
    assert "Preference-Applied" not in response.headers
    assert response.headers["Location"] == f"/replies/{hasty.published.correlation_id}"


@pytest.mark.parametrize("prefer", ["respond-async", "respond-async, wait=1"])
def test_a_202_frees_its_slot(new_gateway, prefer):
    gateway = new_gateway(max_in_flight=1)
    gateway.publisher.responder = lambda request: None

    responses = [gateway.request(headers={"Prefer": prefer}) for _ in range(2)]

    assert [response.status_code for response in responses] == [202, 202]


def permit_of(gateway, monkeypatch, **arguments):
    """Return the breaker's permit of one request, after its response."""
    permits, permit = [], Breakers.permit

    def recording(self, topic, client):
        permits.append(permit(self, topic, client))
        return permits[-1]

    monkeypatch.setattr(Breakers, "permit", recording)
    gateway.request(**arguments)
    (found,) = permits
    return found


@pytest.mark.parametrize(
    ("path", "prefer", "is_short_wait"),
    [
        ("/echo", "", False),
        ("/echo", "wait=9", True),
        ("/echo", "wait=10", False),
        ("/slow", "", False),
        ("/slow", "wait=5", False),
        ("/slow", "wait=4", True),
        ("/patient", "wait=15", False),
    ],
)
def test_the_permit_records_whether_the_client_waits_less_than_the_default(
    gateway, monkeypatch, path, prefer, is_short_wait
):
    permit = permit_of(gateway, monkeypatch, path=path, headers={"Prefer": prefer})

    assert permit.is_short_wait is is_short_wait
    assert permit.is_pending is False


def test_a_202_does_not_count_for_the_breaker(gateway, monkeypatch):
    gateway.publisher.responder = lambda request: None
    headers = {"Prefer": "respond-async"}

    assert permit_of(gateway, monkeypatch, headers=headers).is_pending is True


def test_a_cancelled_request_gets_its_response_at_once(gateway):
    cancelled = []
    gateway.publisher.responder = lambda request: None
    gateway.publisher.after_publish = lambda: cancelled.append(
        gateway.request("DELETE", f"/replies/{gateway.published.correlation_id}").status_code
    )
    began_s = time.monotonic()

    response = gateway.request()

    assert cancelled == [204]
    assert_problem(response, 410, "request-cancelled")
    assert time.monotonic() - began_s < 8  # of the 10 that it waits without a reply


def test_a_cancelled_request_does_not_count_for_the_breaker(gateway, monkeypatch):
    gateway.publisher.responder = lambda request: cancellation(request.correlation_id)

    assert permit_of(gateway, monkeypatch).is_pending is True
