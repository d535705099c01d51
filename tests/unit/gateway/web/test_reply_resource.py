"""The reply resource: fetch a reply later, wait for it, or cancel its request."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask, g

from gateway.clients.admission import Admission
from gateway.clients.client import Client
from gateway.exchange.cancellation import cancellation, is_cancellation
from gateway.exchange.requester import Requester
from gateway.problems import Overloaded, Problem
from gateway.web.reply_resource import MAX_WAIT_S, LongPolls, reply_resource
from gateway.web.responses import problem_response
from rendezvous.contract import Outcome, Reply
from rendezvous.correlation import epoch_ms
from rendezvous.errors import StoreUnavailable
from rendezvous.kafka_client.producer import PublishRefused
from rendezvous.redis_store.replies import Put
from tests.fakes import altered, eventually, raising

NODE = "ffffffff"  # not the process under test


@dataclass
class Resource:
    """The reply resource alone, with its own in-flight limits."""

    app: Flask
    admission: Admission
    store: Any
    finishing: threading.Event
    client_name: list[str] = field(default_factory=lambda: [""])

    def request(self, cid, method="GET", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        text = cid if isinstance(cid, str) else cid.text
        return self.app.test_client().open(f"/replies/{text}", method=method, headers=named)

    def request_in_background(self, *arguments, **headers):
        return ThreadPoolExecutor(1).submit(self.request, *arguments, **headers)

    def put(self, cid, body=b"the reply", **fields):
        assert self.store.put_many([(cid, Reply(cid.text, body, **fields))]) == [Put.STORED]


@pytest.fixture
def new_resource(ids, mailbox, poller, publisher, store, cancellations):
    def build(max_in_flight=8):
        admission, finishing = Admission(max_in_flight), threading.Event()
        requester = Requester(ids, mailbox, poller, publisher)
        app = Flask("status")
        polls = LongPolls(requester, admission, finishing.is_set)
        app.register_blueprint(reply_resource(ids, store, cancellations, polls))
        app.register_error_handler(Problem, problem_response)
        resource = Resource(app, admission, store, finishing)
        app.before_request(lambda: setattr(g, "client", Client(resource.client_name[0])))
        return resource

    return build


@pytest.fixture
def resource(new_resource):
    return new_resource()


@pytest.fixture
def issue(ids):
    """Issue an id, *due_in_ms* from now."""

    def build(due_in_ms=10_000, **terms):
        return ids.read(ids.issue(NODE, epoch_ms() + due_in_ms, **terms))

    return build


def assert_problem(response, status, kind):
    assert response.status_code == status
    assert response.get_json(force=True)["type"] == f"/problems/{kind}"
    assert response.headers["Cache-Control"] == "no-store"
    return response.get_json(force=True)


# Fetching a reply


def test_a_reply_is_returned_unchanged_and_cacheable_until_it_expires(resource, issue):
    cid = issue(30_000)
    resource.put(cid, b"\x00\xff", status=201, headers=(("x-a", "1"), ("content-type", "a/b")))

    response = resource.request(cid)

    assert (response.status_code, response.data) == (201, b"\x00\xff")
    assert (response.headers["X-A"], response.headers["Content-Type"]) == ("1", "a/b")
    assert response.headers["X-Correlation-ID"] == cid.text
    kind, _, age_s = response.headers["Cache-Control"].rpartition("=")
    assert kind == "private, max-age"
    assert 80 <= int(age_s) <= 90
    assert response.headers["ETag"] == f'"{cid.text}"'
    assert "Preference-Applied" not in response.headers


def test_a_reply_that_is_stored_longer_is_cacheable_longer(resource, issue):
    cid = issue(30_000, keep_s=600)
    resource.put(cid)

    assert 620 <= int(resource.request(cid).headers["Cache-Control"].rpartition("=")[2]) <= 630


def test_a_reply_about_to_expire_is_not_cacheable(resource, issue):
    cid = issue(-59_500)
    resource.put(cid)

    assert resource.request(cid).headers["Cache-Control"] == "private, max-age=0"


@pytest.mark.parametrize(
    ("name", "value", "cache_control"),
    [
        ("cache-control", "private, no-cache", "private, no-cache"),
        ("expires", "Thu, 01 Jan 1970 00:00:00 GMT", "private"),
    ],
)
def test_the_cache_headers_of_a_reply_are_kept(resource, issue, name, value, cache_control):
    cid = issue()
    resource.put(cid, headers=((name, value), ("etag", '"own"')))

    response = resource.request(cid)

    assert response.headers[name] == value
    assert response.headers.get("Cache-Control") == cache_control
    assert response.headers["ETag"] == '"own"'


@pytest.mark.parametrize(
    ("given", "cache_control"),
    [
        (["public"], "private"),
        (["PUBLIC, Max-Age=60"], "private, max-age=60"),
        (["public", "max-age=60"], "private, max-age=60"),
        (["s-maxage=60, max-age=5"], "private, max-age=5"),
        (["max-age=5"], "private, max-age=5"),
        (['private="set-cookie", max-age="5"'], "private, max-age=5"),
        (['no-cache="x"'], "private, no-cache"),
        (["public, no-store"], "no-store"),
        (["must-revalidate, immutable, no-transform"],
         "private, no-transform, must-revalidate, immutable"),
        (["max-age=1;public"], "private"),
        (["max-age=60, x=public, stale-if-error=9"], "private, max-age=60, stale-if-error=9"),
        (['x="public'], "private"),
        ([""], "private"),
    ],
)  # fmt: skip
def test_no_cache_may_share_a_reply(resource, issue, given, cache_control):
    cid = issue()
    resource.put(cid, headers=tuple(("cache-control", value) for value in given))

    whole = resource.request(cid)
    unchanged = resource.request(cid, If_None_Match=f'"{cid.text}"')

    assert whole.headers.getlist("Cache-Control") == [cache_control]
    assert unchanged.headers.getlist("Cache-Control") == [cache_control]


def test_a_browser_neither_runs_nor_guesses_a_reply(resource, issue):
    cid = issue()
    resource.put(
        cid,
        b"<script>alert(1)</script>",
        headers=(
            ("content-type", "text/html"),
            ("content-security-policy", "script-src *"),
            ("x-content-type-options", "sniff"),
        ),
    )

    headers = resource.request(cid).headers

    assert headers.getlist("Content-Security-Policy") == ["sandbox; default-src 'none'"]
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    for response in (resource.request(issue()), resource.request("invented")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("given", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_a_matching_etag_gets_304(resource, issue, given):
    cid = issue()
    resource.put(cid, headers=(("content-type", "a/b"),))

    response = resource.request(cid, If_None_Match=given.format(cid.text))

    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == f'"{cid.text}"'
    assert response.headers["Cache-Control"].startswith("private, max-age=")
    assert "Content-Type" not in response.headers


def test_another_etag_gets_the_reply(resource, issue):
    cid = issue()
    resource.put(cid)

    for given in ('"other"', cid.text[:-1], "", '"'):
        assert resource.request(cid, If_None_Match=given).status_code == 200


def test_a_matching_etag_of_an_error_gets_the_error(resource, issue):
    """RFC 9110, section 13.2.1: conditions apply to successful responses only."""
    cid = issue()
    resource.put(cid, status=422)

    assert resource.request(cid, If_None_Match=f'"{cid.text}"').status_code == 422


def test_head_returns_the_same_headers_without_the_body(resource, issue, monkeypatch):
    cid = issue()
    resource.put(cid, headers=(("content-type", "a/b"),))
    # max-age is in whole seconds: both requests must see the same second.
    now_ms = epoch_ms()
    monkeypatch.setattr("rendezvous.correlation.epoch_ms", lambda: now_ms)
    whole, head = resource.request(cid), resource.request(cid, "HEAD")

    assert head.data == b""
    assert head.status_code == whole.status_code == 200
    assert head.headers == whole.headers
    assert resource.request(issue(), "HEAD").status_code == 202
    assert resource.request("invented", "HEAD").status_code == 404


@pytest.mark.parametrize("outcome", [Outcome.UNUSABLE, Outcome.FAILED])
def test_a_failed_reply_is_a_502_that_is_not_cacheable(resource, issue, outcome):
    cid = issue()
    resource.put(cid, status=502, outcome=outcome, detail="why")

    response = resource.request(cid)

    assert response.status_code == 502
    assert response.headers["Cache-Control"] == "no-store"


def test_a_pending_reply_is_a_202_that_is_not_cacheable(resource, issue):
    cid = issue()

    response = resource.request(cid)

    assert response.status_code == 202
    assert response.json == {
        "correlation_id": cid.text,
        "status": "pending",
        "status_url": f"/replies/{cid.text}",
    }
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Location"] == f"/replies/{cid.text}"


def test_an_expired_reply_is_a_410(resource, issue):
    assert_problem(resource.request(issue(-61_000)), 410, "reply-expired")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_without_redis_the_response_is_a_503(resource, issue, redis_server, method):
    redis_server.connected = False

    problem = assert_problem(resource.request(issue(), method), 503, "reply-store-unavailable")

    assert "cannot be reached" in problem["detail"]


# The owner of a reply


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_the_reply_of_another_client_is_a_404_like_an_unknown_id(resource, issue, method, store):
    cid = issue(owner="red")
    resource.put(cid)
    resource.client_name[0] = "blue"
    foreign = resource.request(cid, method)
    invented = resource.request(altered(cid.text), method)

    assert foreign.status_code == invented.status_code == 404
    without_id = foreign.text.replace(cid.text, "ID")
    assert without_id == invented.text.replace(altered(cid.text), "ID")
    assert sorted(foreign.headers) == sorted(invented.headers)
    assert "X-Correlation-ID" not in foreign.headers
    assert store.fetch(cid.text) == Reply(cid.text, b"the reply")


def test_the_owner_gets_its_reply(resource, issue):
    cid = issue(owner="red")
    resource.put(cid)
    resource.client_name[0] = "red"

    assert resource.request(cid).status_code == 200


def test_a_named_client_cannot_fetch_an_anonymous_reply(resource, issue):
    cid = issue()
    resource.put(cid)
    resource.client_name[0] = "red"

    assert_problem(resource.request(cid), 404, "unknown-reply")


# Long polling


def test_a_long_poll_returns_the_reply_when_it_arrives(resource, issue, mailbox):
    cid = issue()
    pending = resource.request_in_background(cid, Prefer="wait=20")
    eventually(lambda: cid.text in mailbox._waiters)
    resource.put(cid)
    response = pending.result(10)

    assert (response.status_code, response.data) == (200, b"the reply")
    assert response.headers["Preference-Applied"] == "wait=20"
    assert response.headers["Cache-Control"].startswith("private")
    assert list(mailbox._waiters) == []


def test_a_long_poll_without_a_reply_returns_202(resource, issue, mailbox):
    response = resource.request(issue(), Prefer="wait=1")

    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=1"
    assert list(mailbox._waiters) == []


def test_a_reply_that_arrives_after_the_last_poll_is_returned(resource, issue, monkeypatch):
    cid = issue()

    def meanwhile(self, correlation_id, wait_s, client):
        resource.put(cid)
        return None, True

    monkeypatch.setattr(LongPolls, "wait", meanwhile)

    assert resource.request(cid, Prefer="wait=1").status_code == 200


@pytest.mark.parametrize("preference", ["", "wait=0", "wait=x", "respond-async"])
def test_without_a_wait_preference_there_is_no_long_poll(resource, issue, monkeypatch, preference):
    monkeypatch.setattr(LongPolls, "wait", None)

    response = resource.request(issue(), Prefer=preference)

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_a_stored_reply_is_returned_without_a_long_poll(resource, issue, monkeypatch):
    monkeypatch.setattr(LongPolls, "wait", None)
    cid = issue()
    resource.put(cid)

    response = resource.request(cid, Prefer="wait=20")

    assert response.status_code == 200
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize(("due_in_ms", "within_s"), [(60_000, MAX_WAIT_S), (-50_000, 10.0)])
def test_a_long_poll_ends_at_the_maximum_or_when_the_reply_expires(
    resource, issue, monkeypatch, due_in_ms, within_s
):
    waits_s = []

    def recorded(self, correlation_id, wait_s, client):
        waits_s.append(wait_s)
        return None, True

    monkeypatch.setattr(LongPolls, "wait", recorded)

    response = resource.request(issue(due_in_ms), Prefer="wait=3600")

    assert waits_s == [pytest.approx(within_s, abs=2)]
    assert waits_s[0] <= within_s
    assert response.headers["Preference-Applied"] == "wait=25"


def test_a_long_poll_beyond_the_expiry_ends_with_410(resource, issue):
    assert_problem(resource.request(issue(-59_700), Prefer="wait=20"), 410, "reply-expired")


def test_long_polls_take_half_of_the_slots_and_further_ones_return_at_once(
    new_resource, issue, mailbox
):
    resource = new_resource(max_in_flight=4)
    cids = [issue() for _ in range(2)]
    waiting = [resource.request_in_background(cid, Prefer="wait=20") for cid in cids]
    eventually(lambda: len(mailbox._waiters) == 2)
    third = resource.request_in_background(issue(), Prefer="wait=20").result(10)
    with resource.admission.admit(), resource.admission.admit():
        pass  # slots are left for requests
    for cid in cids:
        resource.put(cid)

    assert third.status_code == 202
    assert "Preference-Applied" not in third.headers
    assert [pending.result(10).status_code for pending in waiting] == [200, 200]


def test_without_a_free_slot_a_long_poll_returns_202_at_once(new_resource, issue):
    resource = new_resource(max_in_flight=1)
    with resource.admission.admit():
        response = resource.request_in_background(issue(), Prefer="wait=20").result(10)

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_a_long_poll_releases_its_slot(new_resource, issue):
    resource = new_resource(max_in_flight=1)

    for _ in range(3):
        response = resource.request(issue(), Prefer="wait=1")
        assert response.headers["Preference-Applied"] == "wait=1"
        with resource.admission.admit(), pytest.raises(Overloaded), resource.admission.admit():
            pass


def test_a_long_poll_ends_when_the_process_shuts_down(resource, issue, mailbox):
    pending = resource.request_in_background(issue(), Prefer="wait=25")
    eventually(lambda: mailbox._waiters)
    resource.finishing.set()
    response = pending.result(10)

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_a_long_poll_ends_when_kafka_refuses_the_request(resource, issue, mailbox):
    cid = issue()
    pending = resource.request_in_background(cid, Prefer="wait=20")
    eventually(lambda: mailbox._waiters)
    mailbox.settle(cid.text, PublishRefused("denied"))

    assert assert_problem(pending.result(10), 503, "not-sent")["sent"] == "no"


# Cancelling


def test_a_cancelled_request_returns_410_and_a_late_reply_is_discarded(resource, issue, store):
    cid = issue(30_000)
    response = resource.request(cid, "DELETE")
    late = store.put_many([(cid, Reply(cid.text, b"late"))])
    after = resource.request(cid)

    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Cache-Control"] == "no-store"
    assert late == [Put.DUPLICATE]
    assert after.status_code == 410
    assert after.content_type == "application/problem+json"
    assert after.json["title"] == "Request Cancelled"
    assert after.json["type"] == "/problems/request-cancelled"
    assert after.json["correlation_id"] == cid.text == after.headers["X-Correlation-ID"]


def test_a_cancellation_is_stored_as_long_as_a_reply(resource, issue, redis):
    cid = issue(30_000, keep_s=600)
    resource.request(cid, "DELETE")

    (key,) = redis.keys("reply:*")
    assert 620_000 < redis.pttl(key) <= 630_000


def test_a_cancellation_ends_a_long_poll_at_once(resource, issue, mailbox):
    cid = issue()
    waiting = resource.request_in_background(cid, Prefer="wait=25")
    eventually(lambda: cid.text in mailbox._waiters)
    resource.request(cid, "DELETE")

    assert waiting.result(10).json["title"] == "Request Cancelled"


def test_cancelling_is_idempotent(resource, issue):
    cid = issue()

    assert [resource.request(cid, "DELETE").status_code for _ in range(3)] == [204] * 3


@pytest.mark.parametrize("status", [200, 410, 500])
def test_an_answered_request_cannot_be_cancelled(resource, issue, status, cancellations):
    cid = issue()
    resource.put(cid, status=status)

    response = resource.request(cid, "DELETE")

    problem = assert_problem(response, 409, "already-answered")
    assert problem["sent"] == "yes"
    assert response.headers["Location"] == problem["status_url"] == f"/replies/{cid.text}"
    assert cancellations.cancelled_since("")[0] == []
    assert resource.request(cid).status_code == status


def test_an_expired_request_cannot_be_cancelled(resource, issue, cancellations):
    assert_problem(resource.request(issue(-61_000), "DELETE"), 410, "reply-expired")
    assert cancellations.cancelled_since("")[0] == []


def test_a_reply_that_expires_during_the_cancellation_is_a_410(resource, issue, monkeypatch):
    cid = issue()
    resource.put(cid)
    monkeypatch.setattr(resource.store, "fetch", lambda text: None)

    assert_problem(resource.request(cid, "DELETE"), 410, "reply-expired")


def test_responders_are_notified_of_a_cancellation(resource, issue, cancellations):
    cid = issue()
    resource.request(cid, "DELETE")

    assert cancellations.cancelled_since("")[0] == [cid.text]


def test_a_request_is_cancelled_even_if_responders_cannot_be_notified(
    resource, issue, cancellations, monkeypatch, caplog
):
    monkeypatch.setattr(
        cancellations,
        "mark_cancelled",
        raising(StoreUnavailable("Redis denies this user a command or key")),
    )
    cid = issue()

    assert resource.request(cid, "DELETE").status_code == 204
    assert resource.request(cid).json["title"] == "Request Cancelled"
    assert "responders are not notified: Redis denies this user" in caplog.text


def test_a_cancellation_differs_from_a_reply_with_status_410(issue):
    cid = issue().text

    assert is_cancellation(cancellation(cid))
    assert not is_cancellation(Reply(cid, status=410))
