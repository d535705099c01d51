"""HTTP in, HTTP out: every ending that a request can have, as a client sees it."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.exchange.breaker import Breakers
from gateway.exchange.cancellation import cancellation
from gateway.health.readiness import Check, Readiness
from gateway.problems import DOCUMENTED
from gateway.routing.table import Route
from rendezvous.contract import RESERVED_HEADERS, Outcome, Reply
from rendezvous.correlation import epoch_ms
from rendezvous.errors import UnusableReply
from rendezvous.kafka_client.producer import PublishRefused, PublishTooLarge
from tests.fakes import altered, eventually
from tests.unit.apps import new_app

MAX_BODY_BYTES = 1_000
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

ROUTES = (
    Route("/echo", "prefix.echo"),
    Route("/orders/<order_id>", "orders", ("PUT", "DELETE"), "path:order_id", ("X-Tenant",)),
    Route("/keyed", "keyed", ("POST",), "header:X-Key", ("X-Key", "Accept")),
    Route("/patient", "patient", max_timeout_s=20.0),
    Route("/slow", "slow", timeout_s=5.0, max_timeout_s=8.0),
)


@dataclass
class Gateway:
    """The application and what stands behind it."""

    client: Any
    publisher: Any
    mailbox: Any
    store: Any
    draining: list[bool] = field(default_factory=lambda: [False])

    def request(self, method="POST", path="/echo", **arguments):
        return self.client.open(path, method=method, **arguments)

    @property
    def published(self):
        """The only request that reached the publisher."""
        (request,) = self.publisher.published
        return request


@pytest.fixture(params=["straight", "through Flask"])
def new_gateway(request, mailbox, publisher, store, redis):
    """Build a gateway; each test is for both ways that a request can take."""

    def build(reply_timeout_s=10.0, max_in_flight=8, reply_timeout_status=503):
        draining = [False]
        app = new_app(
            ROUTES,
            mailbox,
            publisher,
            redis,
            reply_timeout_s=reply_timeout_s,
            reply_timeout_status=reply_timeout_status,
            max_in_flight=max_in_flight,
            max_body_bytes=MAX_BODY_BYTES,
            draining=lambda: draining[0],
            reply_topic="prefix.replies",
        )
        if request.param != "straight":
            app.before_request(lambda: None)
        return Gateway(app.test_client(), publisher, mailbox, store, draining)

    return build


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


@pytest.fixture
def hasty(new_gateway):
    """A gateway that does not wait long."""
    return new_gateway(reply_timeout_s=0.1)


def assert_problem(response, status, kind, sent=None):
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    problem = response.get_json(force=True)
    assert problem["status"] == status
    assert problem["type"] == ("about:blank" if kind is None else f"/problems/{kind}")
    assert problem["title"]
    assert problem["detail"]
    assert problem.get("sent") == sent
    assert problem.get("correlation_id") == response.headers.get("X-Correlation-ID")
    assert problem.get("status_url") == response.headers.get("Location")
    return problem


def assert_retry_after(response):
    assert 1 <= int(response.headers["Retry-After"]) <= 3


# A reply


@pytest.mark.parametrize("status", [200, 201, 400, 404, 410, 422, 500, 503, 599])
def test_a_reply_is_answered_with_its_own_status_body_and_content_type(gateway, status):
    gateway.publisher.answer = lambda request: Reply.to(
        request, b"\x00answer\xff", status=status, content_type="application/x-own; a=b"
    )

    response = gateway.request(data=b"x")

    assert response.status_code == status
    assert response.data == b"\x00answer\xff"
    assert response.headers.getlist("Content-Type") == ["application/x-own; a=b"]
    assert response.headers["X-Correlation-ID"] == gateway.published.correlation_id


def test_a_reply_without_content_type_is_answered_without(gateway):
    gateway.publisher.answer = lambda request: Reply.to(request, b"<b>")

    response = gateway.request(data=b"x")

    assert (response.status_code, response.data) == (200, b"<b>")
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_is_answered_without(gateway, status):
    gateway.publisher.answer = lambda request: Reply.to(request, b"lost", status=status)

    response = gateway.request(data=b"x")

    assert (response.status_code, response.data) == (status, b"")


def test_the_headers_of_a_reply_reach_the_client_but_our_id_is_ours(gateway):
    gateway.publisher.answer = lambda request: Reply.to(
        request,
        headers=[("x-many", "1"), ("x-many", "2"), ("etag", '"7"'), ("x-correlation-id", "theirs")],
    )

    response = gateway.request(data=b"x")

    assert response.headers.getlist("X-Many") == ["1", "2"]
    assert response.headers["ETag"] == '"7"'
    assert response.headers.getlist("X-Correlation-ID") == [gateway.published.correlation_id]


def test_a_location_of_the_responder_stays_as_it_is(gateway):
    gateway.publisher.answer = lambda request: Reply.to(
        request, status=201, headers=[("location", "/orders/7")]
    )

    assert gateway.request(data=b"x").headers["Location"] == "/orders/7"


# What the client prefers


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
def test_the_responder_has_as_long_as_the_client_waits_or_might_have(
    gateway, path, prefer, deadline_s
):
    before_ms = epoch_ms()
    gateway.request(path=path, headers={"Prefer": prefer})

    due_ms = gateway.published.deadline_ms - before_ms
    assert deadline_s * 1_000 <= due_ms < deadline_s * 1_000 + 900


def test_who_would_wait_less_is_answered_sooner(gateway):
    gateway.publisher.answer = lambda request: None

    response = gateway.request(headers={"Prefer": "wait=1"})

    problem = assert_problem(response, 503, "reply-timeout", "yes")
    assert "within 1 s" in problem["detail"]
    assert response.headers["Preference-Applied"] == "wait=1"
    assert response.headers["Vary"] == "Prefer, Accept"


def test_who_would_wait_longer_gets_a_reply_that_comes_late(hasty, ids):
    hasty.publisher.answer = lambda request: None
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(lambda: hasty.request(path="/patient", headers={"Prefer": "wait=15"}))
        eventually(lambda: hasty.publisher.published)
        with pytest.raises(TimeoutError):
            asked.result(0.5)  # five times what others wait
        cid = ids.read(hasty.published.correlation_id)
        hasty.store.put_many([(cid, Reply(cid.text, b"late"))])
        response = asked.result(10)

    assert (response.status_code, response.data) == (200, b"late")
    assert response.headers["Preference-Applied"] == "wait=15"


@pytest.mark.parametrize(
    ("prefer", "replies", "status", "applied"),
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
def test_the_client_is_told_which_preferences_counted(gateway, prefer, replies, status, applied):
    if not replies:
        gateway.publisher.answer = lambda request: None

    response = gateway.request(headers={"Prefer": prefer})

    assert response.status_code == status
    assert response.headers.get("Preference-Applied") == applied
    assert response.headers.getlist("Vary") == ([] if applied is None else ["Prefer"])


def test_several_prefer_lines_are_one(gateway):
    gateway.publisher.answer = lambda request: None

    response = gateway.request(headers=[("Prefer", "wait=1"), ("Prefer", "respond-async, wait=9")])

    assert response.headers["Preference-Applied"] == "respond-async, wait=1"


def test_what_a_reply_varies_by_stays(gateway):
    gateway.publisher.answer = lambda request: Reply.to(
        request, headers=[("vary", "Accept"), ("vary", "Origin")]
    )

    response = gateway.request(headers={"Prefer": "wait=3"})

    assert response.headers.getlist("Vary") == ["Accept", "Origin", "Prefer"]


def test_a_promise_says_where_the_reply_will_be(gateway):
    gateway.publisher.answer = lambda request: None

    response = gateway.request(headers={"Prefer": "respond-async"})

    cid = gateway.published.correlation_id
    assert response.status_code == 202
    assert response.json["correlation_id"] == response.headers["X-Correlation-ID"] == cid
    assert response.headers["Location"] == response.json["status_url"] == f"/replies/{cid}"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
def test_no_promise_is_made_for_a_request_that_is_refused(gateway, when):
    gateway.publisher.answer = lambda request: None
    setattr(gateway.publisher, when, PublishRefused("denied"))

    response = gateway.request(headers={"Prefer": "respond-async"})

    assert_problem(response, 503, "not-sent", "no")
    assert "Preference-Applied" not in response.headers


def test_no_promise_is_made_for_a_request_that_nobody_acknowledged(hasty):
    hasty.publisher.answer = lambda request: None
    hasty.publisher.acknowledges = False

    response = hasty.request(headers={"Prefer": "respond-async"})

    assert_problem(response, 503, "not-sent", "unknown")
    assert "Preference-Applied" not in response.headers
    assert response.headers["Location"] == f"/replies/{hasty.published.correlation_id}"


@pytest.mark.parametrize("prefer", ["respond-async", "respond-async, wait=1"])
def test_a_promise_gives_its_place_back(new_gateway, prefer):
    gateway = new_gateway(max_in_flight=1)
    gateway.publisher.answer = lambda request: None

    answers = [gateway.request(headers={"Prefer": prefer}) for _ in range(2)]

    assert [response.status_code for response in answers] == [202, 202]


def permit_of(gateway, monkeypatch, **arguments):
    """Return the breaker's permit of one request, after its response."""
    permits, permit = [], Breakers.permit

    def recording(self, topic):
        permits.append(permit(self, topic))
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
def test_the_breaker_gets_to_know_whether_a_client_waits_less_than_the_default(
    gateway, monkeypatch, path, prefer, is_short_wait
):
    permit = permit_of(gateway, monkeypatch, path=path, headers={"Prefer": prefer})

    assert permit.is_short_wait is is_short_wait
    assert permit.is_pending is False


def test_a_202_does_not_count_for_the_breaker(gateway, monkeypatch):
    gateway.publisher.answer = lambda request: None
    headers = {"Prefer": "respond-async"}

    assert permit_of(gateway, monkeypatch, headers=headers).is_pending is True


def test_whoever_waits_for_a_cancelled_request_is_answered_at_once(gateway):
    cancelled = []
    gateway.publisher.answer = lambda request: None
    gateway.publisher.then = lambda: cancelled.append(
        gateway.request("DELETE", f"/replies/{gateway.published.correlation_id}").status_code
    )
    began_s = time.monotonic()

    response = gateway.request()

    assert cancelled == [204]
    assert_problem(response, 410, "request-cancelled")
    assert time.monotonic() - began_s < 8  # it would have waited for 10


def test_a_cancelled_request_does_not_count_for_the_breaker(gateway, monkeypatch):
    gateway.publisher.answer = lambda request: cancellation(request.correlation_id)

    assert permit_of(gateway, monkeypatch).is_pending is True


# The request record


@pytest.mark.parametrize(
    "body", [b"", b"plain", bytes(range(256)), b"\xff\xfe\x00", b"a=1&b=2", b"x" * MAX_BODY_BYTES]
)
@pytest.mark.parametrize(
    "content_type",
    [None, "application/x-www-form-urlencoded", "application/octet-stream", "text/plain; a=b"],
)
def test_the_body_and_its_type_are_forwarded_unchanged(gateway, body, content_type):
    gateway.request(data=body, content_type=content_type)

    assert gateway.published.body == body
    assert gateway.published.content_type == content_type


def test_a_request_carries_what_the_responder_has_to_know(gateway):
    gateway.request(path="/echo?a=1&b=%C3%A4")

    request = gateway.published
    assert (request.topic, request.reply_topic) == ("prefix.echo", "prefix.replies")
    assert (request.method, request.path, request.query) == ("POST", "/echo", "a=1&b=%C3%A4")
    assert request.key is None


def test_a_path_is_forwarded_as_the_text_it_is(gateway):
    gateway.request("PUT", "/orders/%C3%A4%20b")

    assert (gateway.published.path, gateway.published.method) == ("/orders/ä b", "PUT")
    assert gateway.published.key == "ä b".encode()


def test_a_header_may_be_the_record_key(gateway):
    gateway.request(path="/keyed", headers={"X-Key": "k-1"})

    assert gateway.published.key == b"k-1"


def test_without_the_header_that_is_the_key_the_correlation_id_is(gateway):
    gateway.request(path="/keyed")

    key, _, _ = gateway.published.encode()
    assert key == gateway.published.correlation_id.encode()


def test_only_the_headers_that_the_route_lists_travel(gateway):
    gateway.request(
        "PUT",
        "/orders/7",
        headers={
            "X-Tenant": "blue",
            "Accept": "text/plain",
            "Authorization": "Bearer secret",
            "Cookie": "a=b",
        },
    )

    assert gateway.published.headers == (("x-tenant", "blue"),)


def test_a_header_value_in_utf_8_stays_that(gateway):
    value = "café".encode().decode("latin-1")  # as WSGI hands it over
    gateway.request("PUT", "/orders/7", environ_overrides={"HTTP_X_TENANT": value})

    assert gateway.published.headers == (("x-tenant", "café"),)


def test_a_header_value_that_is_not_utf_8_is_taken_for_latin_1(gateway):
    gateway.request("PUT", "/orders/7", environ_overrides={"HTTP_X_TENANT": "caf\xe9"})

    assert gateway.published.headers == (("x-tenant", "café"),)


@pytest.mark.parametrize("name", sorted(RESERVED_HEADERS - {"content-type"}))
def test_a_client_cannot_set_what_the_contract_reserves(gateway, name):
    environ = {"HTTP_" + name.upper().replace("-", "_"): "forged"}

    gateway.request(path="/keyed", data=b"x", environ_overrides=environ)

    _, _, headers = gateway.published.encode()
    assert b"forged" not in [value for _, value in headers]


def test_the_id_is_never_the_clients(gateway, ids):
    response = gateway.request(
        headers={"X-Request-ID": "mine", "X-Correlation-ID": "mine"}, data=b"x"
    )

    assert ids.read(response.headers["X-Correlation-ID"])
    names = [name for name, value in gateway.published.encode()[2] if value == b"mine"]
    assert names == ["x-request-id"]


@pytest.mark.parametrize(
    "given", ["7", "0af76519-16cd-43dd-8448-eb211c80319c", "a+b/c==", "urn:x:1.2~3_4", "x" * 200]
)
def test_the_clients_name_for_its_request_travels_and_comes_back(gateway, given):
    response = gateway.request(headers={"X-Request-ID": given}, data=b"x")

    assert gateway.published.headers == (("x-request-id", given),)
    assert response.headers.getlist("X-Request-ID") == [given]


@pytest.mark.parametrize(
    "given", [None, "", " ", "a b", "a,b", "a\tb", '"a"', "<a>", "é", "x" * 201]
)
def test_no_name_is_invented_for_a_request_without_a_good_one(gateway, given):
    response = gateway.request(headers={} if given is None else {"X-Request-ID": given}, data=b"x")

    assert response.status_code == 200
    assert gateway.published.headers == ()
    assert "X-Request-ID" not in response.headers


def test_errors_name_the_request_as_the_client_does(gateway):
    response = gateway.request(path="/nowhere", headers={"X-Request-ID": "mine"})

    assert response.status_code == 404
    assert response.headers["X-Request-ID"] == "mine"


def test_the_name_of_a_request_is_the_clients_and_not_the_responders(gateway):
    gateway.publisher.answer = lambda request: Reply.to(
        request, headers=[("x-request-id", "theirs")]
    )

    named = gateway.request(headers={"X-Request-ID": "mine"})
    nameless = gateway.request()

    assert named.headers.getlist("X-Request-ID") == ["mine"]
    assert nameless.headers.getlist("X-Request-ID") == ["theirs"]


def test_a_valid_trace_context_travels(gateway):
    gateway.request(headers={"traceparent": TRACEPARENT, "tracestate": "a=1,b=2"})

    assert gateway.published.headers == (("traceparent", TRACEPARENT), ("tracestate", "a=1,b=2"))


@pytest.mark.parametrize(
    "traceparent",
    [
        "", "x", TRACEPARENT + "x", TRACEPARENT.upper(), "ff" + TRACEPARENT[2:],
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
def test_an_invalid_trace_context_stays_here(gateway, traceparent):
    gateway.request(headers={"traceparent": traceparent, "tracestate": "a=1"})

    assert gateway.published.headers == ()


def test_a_trace_state_that_is_not_valid_stays_here_alone(gateway):
    gateway.request(headers={"traceparent": TRACEPARENT, "tracestate": "a=" + "x" * 600})

    assert gateway.published.headers == (("traceparent", TRACEPARENT),)


# The unhappy endings


def test_an_unusable_reply_is_a_bad_gateway(gateway):
    gateway.publisher.answer = lambda request: Reply.unusable(
        UnusableReply(request.correlation_id, "header 'status' is '42'")
    )

    response = gateway.request(data=b"x")

    problem = assert_problem(response, 502, "bad-reply", "yes")
    assert "'42'" in problem["detail"]
    assert "Location" not in response.headers


def test_a_failure_without_http_status_is_a_bad_gateway(gateway):
    gateway.publisher.answer = lambda request: Reply(
        request.correlation_id, status=502, outcome=Outcome.FAILED, detail="Error: no stock"
    )

    response = gateway.request(data=b"x")

    assert "no stock" in assert_problem(response, 502, "responder-error", "yes")["detail"]
    assert "Location" not in response.headers


@pytest.mark.parametrize(("acknowledged", "sent"), [(True, "yes"), (False, "unknown")])
def test_silence_is_a_gateway_timeout_that_says_where_to_ask(hasty, acknowledged, sent):
    hasty.publisher.answer = lambda request: None
    hasty.publisher.acknowledges = acknowledged

    response = hasty.request(data=b"x")

    problem = assert_problem(response, 503, "reply-timeout", sent)
    assert problem["title"] == "Gateway Timeout"
    assert response.headers["Location"] == f"/replies/{hasty.published.correlation_id}"
    assert_retry_after(response)


def test_a_timeout_is_504_on_request(new_gateway):
    gateway = new_gateway(reply_timeout_s=0.05, reply_timeout_status=504)
    gateway.publisher.answer = lambda request: None

    assert_problem(gateway.request(data=b"x"), 504, "reply-timeout", "yes")


@pytest.mark.parametrize("when", ["refused_at_once", "refused_later"])
def test_a_request_that_was_refused_is_not_sent(gateway, when):
    gateway.publisher.answer = lambda request: None
    setattr(gateway.publisher, when, PublishRefused("topic 'echo' is not there"))

    response = gateway.request(data=b"x")

    problem = assert_problem(response, 503, "not-sent", "no")
    assert "is not there" in problem["detail"]
    assert "Location" not in response.headers
    assert_retry_after(response)


def test_a_request_that_nobody_acknowledged_may_be_sent(hasty):
    hasty.publisher.answer = lambda request: None
    hasty.publisher.acknowledges = False
    hasty.publisher.trouble = "the broker did not acknowledge it"

    response = hasty.request(data=b"x")

    assert_problem(response, 503, "not-sent", "unknown")
    assert response.headers["Location"] == f"/replies/{hasty.published.correlation_id}"
    assert_retry_after(response)


def test_nothing_is_sent_while_redis_is_away(gateway, redis_server, new_id):
    redis_server.connected = False
    with gateway.mailbox.waiting_for(new_id().text):
        eventually(lambda: gateway.mailbox.trouble)

    response = gateway.request(data=b"x")

    assert_problem(response, 503, "reply-store-unavailable", "no")
    assert_retry_after(response)
    assert gateway.publisher.published == []


def test_redis_going_away_during_the_wait_is_told(new_gateway, redis_server):
    gateway = new_gateway(reply_timeout_s=0.2)
    gateway.publisher.answer = lambda request: None
    gateway.publisher.then = lambda: setattr(redis_server, "connected", False)

    response = gateway.request(data=b"x")

    assert_problem(response, 503, "reply-store-unavailable", "yes")
    assert response.headers["Location"] == f"/replies/{gateway.published.correlation_id}"
    assert_retry_after(response)


class Unreadable(io.RawIOBase):
    """A body that must not be read."""

    def readable(self):
        return True

    def readinto(self, buffer):
        raise AssertionError("the body was read")


def unread(size):
    return {"wsgi.input": Unreadable(), "CONTENT_LENGTH": str(size)}


def test_over_the_cap_a_request_is_turned_away_before_its_body_is_read(new_gateway):
    gateway = new_gateway(max_in_flight=1)
    answers = []

    def meanwhile():
        answers.append(gateway.request(environ_overrides=unread(10)))

    gateway.publisher.then = meanwhile
    first = gateway.request(data=b"x")

    assert first.status_code == 200
    assert_problem(answers[0], 503, "overloaded", "no")
    assert_retry_after(answers[0])


def test_after_the_busy_time_requests_are_let_in_again(new_gateway):
    gateway = new_gateway(max_in_flight=1)

    assert [gateway.request(data=b"x").status_code for _ in range(3)] == [200] * 3


def test_a_process_that_finishes_still_answers_who_got_in(gateway):
    gateway.draining[0] = True

    assert gateway.request(data=b"x").status_code == 200


class Endless(io.RawIOBase):
    """A body that never ends."""

    taken = 0

    def readable(self):
        return True

    def readall(self):
        raise AssertionError("read without a limit")

    def readinto(self, buffer):
        self.taken += len(buffer)
        return len(buffer)


def test_a_body_that_says_it_is_too_large_is_refused_and_not_kept(gateway):
    response = gateway.request(data=b"x" * (MAX_BODY_BYTES + 1))

    problem = assert_problem(response, 413, "too-large", "no")
    assert f"the {MAX_BODY_BYTES} bytes" in problem["detail"]
    assert "MAX_BODY_BYTES" in problem["detail"]
    assert gateway.publisher.published == []


@pytest.mark.parametrize(
    "environ",
    [
        {"CONTENT_LENGTH": "9" * 12},
        {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
    ],
    ids=["", "chunked"],
)
def test_of_a_body_without_end_only_so_much_is_read(gateway, environ):
    body = Endless()

    response = gateway.request(environ_overrides={"wsgi.input": body, **environ})

    assert_problem(response, 413, "too-large", "no")
    assert body.taken < 200_000
    assert gateway.publisher.published == []


def test_a_body_that_cannot_be_read_is_the_clients_fault_and_not_sent(gateway):
    response = gateway.request(environ_overrides=unread(10))

    assert_problem(response, 400, "unreadable-body", "no")
    assert gateway.publisher.published == []


@pytest.mark.parametrize(
    "server", [{}, {"wsgi.input_terminated": True}], ids=["any server", "gunicorn"]
)
def test_a_body_that_breaks_off_is_not_sent_in_part(gateway, server):
    body = {"wsgi.input": io.BytesIO(b"x" * 5), "CONTENT_LENGTH": "10"}

    response = gateway.request(environ_overrides=body | server)

    assert_problem(response, 400, "unreadable-body", "no")
    assert gateway.publisher.published == []


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, MAX_BODY_BYTES + 2, 10 * MAX_BODY_BYTES])
def test_a_chunked_body_that_is_too_large_is_refused_and_not_cut_off(gateway, size):
    response = gateway.request(
        input_stream=io.BytesIO(b"x" * size), environ_overrides={"wsgi.input_terminated": True}
    )

    assert_problem(response, 413, "too-large", "no")
    assert gateway.publisher.published == []


@pytest.mark.parametrize("size", [0, 1, MAX_BODY_BYTES])
def test_a_chunked_body_that_fits_is_forwarded(gateway, size):
    response = gateway.request(
        input_stream=io.BytesIO(b"x" * size), environ_overrides={"wsgi.input_terminated": True}
    )

    assert response.status_code == 200
    assert gateway.published.body == b"x" * size


def test_what_kafka_finds_too_large_is_413(gateway):
    gateway.publisher.refused_at_once = PublishTooLarge("too large for topic 'echo'")

    response = gateway.request(data=b"x")

    assert response.status_code == 413
    assert response.get_json(force=True)["type"] == "/problems/too-large"


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
def test_a_wrong_method_is_a_405_problem_that_names_the_right_ones(gateway, method, path, allowed):
    response = gateway.request(method, path)

    assert_problem(response, 405, None, "no")
    assert allowed <= {name.strip() for name in response.headers["Allow"].split(",")}


def test_our_own_failure_is_a_500_problem_without_the_cause(gateway, caplog):
    def broken(request):
        raise RuntimeError("a secret of ours")

    gateway.publisher.answer = broken

    response = gateway.request(data=b"x")

    assert_problem(response, 500, None)
    assert "its log has the cause" in response.get_json(force=True)["detail"]
    assert b"secret" not in response.data
    assert "a secret of ours" in caplog.text


def test_a_place_is_free_again_after_every_ending(new_gateway):
    gateway = new_gateway(reply_timeout_s=0.02, max_in_flight=1)
    gateway.publisher.answer = lambda request: None
    gateway.request(data=b"x")
    gateway.publisher.refused_at_once = PublishRefused("no")
    gateway.request(data=b"x")
    gateway.request(data=b"x" * (MAX_BODY_BYTES + 1))
    gateway.publisher.refused_at_once = None
    gateway.publisher.answer = lambda request: Reply.to(request)

    assert gateway.request(data=b"x").status_code == 200


# The status resource


def test_a_reply_that_has_come_is_answered_as_it_would_have_been(gateway, new_id):
    cid = new_id()
    reply = Reply(cid.text, b"late", 418, (("content-type", "text/tea"),))
    gateway.store.put_many([(cid, reply)])

    response = gateway.request("GET", f"/replies/{cid.text}")

    assert (response.status_code, response.data) == (418, b"late")
    assert response.headers["Content-Type"] == "text/tea"
    assert response.headers["X-Correlation-ID"] == cid.text


def test_a_reply_can_be_asked_for_again(gateway, new_id):
    cid = new_id()
    gateway.store.put_many([(cid, Reply(cid.text, b"late"))])

    answers = [gateway.request("GET", f"/replies/{cid.text}").data for _ in range(2)]

    assert answers == [b"late", b"late"]


@pytest.mark.parametrize("due_in_ms", [3_000, -30_000])
def test_a_reply_that_may_still_come_is_pending(gateway, new_id, due_in_ms):
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


def test_a_reply_after_its_time_is_gone(gateway, new_id):
    assert_problem(gateway.request("GET", f"/replies/{new_id(-61_000).text}"), 410, "reply-expired")


def test_an_id_with_an_altered_last_character_is_unknown(gateway, new_id):
    cid = new_id()
    gateway.store.put_many([(cid, Reply(cid.text, b"secret"))])

    response = gateway.request("GET", f"/replies/{altered(cid.text)}")

    assert_problem(response, 404, "unknown-reply")
    assert b"secret" not in response.data


@pytest.mark.parametrize("text", ["x", "*", "%0A", "a" * 5_000, "%C3%A4", "%00", "..%2F"])
def test_an_id_that_we_never_made_is_unknown(gateway, text):
    response = gateway.request("GET", f"/replies/{text}")

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"
    assert len(response.data) < 1_000


@pytest.mark.parametrize("outcome", [Outcome.UNUSABLE, Outcome.FAILED])
def test_a_reply_that_is_no_response_is_told_here_too(gateway, new_id, outcome):
    cid = new_id()
    gateway.store.put_many([(cid, Reply(cid.text, status=502, outcome=outcome, detail="broken"))])

    response = gateway.request("GET", f"/replies/{cid.text}")

    assert response.status_code == 502
    assert response.get_json(force=True)["detail"] == "broken"


def test_the_status_resource_tells_when_redis_is_away(gateway, redis_server, new_id):
    redis_server.connected = False

    response = gateway.request("GET", f"/replies/{new_id().text}")

    assert_problem(response, 503, "reply-store-unavailable")
    assert_retry_after(response)


def test_after_a_timeout_the_late_reply_is_at_the_location_that_was_given(hasty, ids):
    hasty.publisher.answer = lambda request: None
    location = hasty.request(data=b"x").headers["Location"]
    pending = hasty.request("GET", location)
    request = hasty.published
    hasty.store.put_many([(ids.read(request.correlation_id), Reply.to(request, b"late"))])
    answered = hasty.request("GET", location)

    assert (pending.status_code, answered.status_code, answered.data) == (202, 200, b"late")


# Probes and pages


def test_a_live_process_says_so_even_while_it_finishes(gateway):
    gateway.draining[0] = True

    assert gateway.request("GET", "/livez").status_code == 200


def test_a_process_is_ready_unless_something_is_missing(gateway):
    ready = gateway.request("GET", "/readyz")
    gateway.draining[0] = True
    finishing = gateway.request("GET", "/readyz")

    assert (ready.status_code, ready.get_json()["problems"]) == (200, [])
    assert finishing.status_code == 503
    assert finishing.get_json()["problems"] == ["this process is shutting down"]


def test_a_process_says_which_of_the_workers_behind_the_port_it_is(gateway):
    node = gateway.request("GET", "/readyz").get_json()["node"]

    assert gateway.request("POST", "/echo").headers["X-Correlation-ID"].startswith(f"{node}.")


def test_what_is_missing_is_told_in_words(gateway, new_gateway, monkeypatch):
    monkeypatch.setattr(Check, "problem", lambda self: "topic missing: orders; create it")
    monkeypatch.setattr(Readiness, "problems", lambda self: [Check("Kafka", str).problem()])

    response = gateway.request("GET", "/readyz")

    assert response.status_code == 503
    assert response.get_json()["problems"] == ["topic missing: orders; create it"]


def test_a_warning_is_told_and_does_not_end_readiness(gateway, monkeypatch):
    monkeypatch.setattr(Readiness, "warnings", lambda self: ["the clocks differ"])

    response = gateway.request("GET", "/readyz")

    assert response.status_code == 200
    assert response.get_json()["warnings"] == ["the clocks differ"]


@pytest.mark.parametrize("kind", sorted(DOCUMENTED))
def test_every_type_of_problem_has_a_page(gateway, kind):
    response = gateway.request("GET", f"/problems/{kind}")

    assert response.status_code == 200
    assert DOCUMENTED[kind].meaning in response.text
    assert DOCUMENTED[kind].retry in response.text


def test_a_type_that_is_none_is_a_404_that_names_those_there_are(gateway):
    problem = assert_problem(gateway.request("GET", "/problems/none"), 404, None, "no")

    assert problem["type"] == "about:blank"


def test_a_problem_is_json_that_anybody_can_parse(gateway):
    assert json.loads(gateway.request(path="/nowhere").data)["status"] == 404
