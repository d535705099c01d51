"""The status resource: fetch a reply later, wait for it, or decline it."""

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
from tests.fakes import altered, eventually

NODE = "ffffffff"  # another process than the one that is asked


@dataclass
class Resource:
    """The status resource alone, behind an admission of its own."""

    app: Flask
    admission: Admission
    store: Any
    finishing: threading.Event
    caller: list[str] = field(default_factory=lambda: [""])

    def ask(self, cid, method="GET", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        text = cid if isinstance(cid, str) else cid.text
        return self.app.test_client().open(f"/replies/{text}", method=method, headers=named)

    def ask_in_the_background(self, *arguments, **headers):
        return ThreadPoolExecutor(1).submit(self.ask, *arguments, **headers)

    def put(self, cid, body=b"the reply", **fields):
        assert self.store.put_many([(cid, Reply(cid.text, body, **fields))]) == [Put.STORED]


@pytest.fixture
def new_resource(ids, mailbox, publisher, store, cancellations):
    def build(max_in_flight=8):
        admission, finishing = Admission(max_in_flight), threading.Event()
        requester = Requester(ids, mailbox, publisher)
        app = Flask("status")
        polls = LongPolls(requester, admission, finishing.is_set)
        app.register_blueprint(reply_resource(ids, store, cancellations, polls))
        app.register_error_handler(Problem, problem_response)
        resource = Resource(app, admission, store, finishing)
        app.before_request(lambda: setattr(g, "client", Client(resource.caller[0])))
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


# What is there, and for how long


def test_a_reply_is_answered_as_it_is_and_may_be_kept_for_as_long_as_it_is_kept_here(
    resource, issue
):
    cid = issue(30_000)
    resource.put(cid, b"\x00\xff", status=201, headers=(("x-a", "1"), ("content-type", "a/b")))

    response = resource.ask(cid)

    assert (response.status_code, response.data) == (201, b"\x00\xff")
    assert (response.headers["X-A"], response.headers["Content-Type"]) == ("1", "a/b")
    assert response.headers["X-Correlation-ID"] == cid.text
    kind, _, age_s = response.headers["Cache-Control"].rpartition("=")
    assert kind == "private, max-age"
    assert 80 <= int(age_s) <= 90
    assert response.headers["ETag"] == f'"{cid.text}"'
    assert "Preference-Applied" not in response.headers


def test_a_reply_that_is_kept_longer_may_be_kept_longer(resource, issue):
    cid = issue(30_000, keep_s=600)
    resource.put(cid)

    assert 620 <= int(resource.ask(cid).headers["Cache-Control"].rpartition("=")[2]) <= 630


def test_a_reply_in_its_last_moment_is_not_kept(resource, issue):
    cid = issue(-59_500)
    resource.put(cid)

    assert resource.ask(cid).headers["Cache-Control"] == "private, max-age=0"


@pytest.mark.parametrize(
    ("name", "value", "cache_control"),
    [
        ("cache-control", "no-cache", "no-cache"),
        ("expires", "Thu, 01 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_what_a_reply_says_of_caches_stays(resource, issue, name, value, cache_control):
    cid = issue()
    resource.put(cid, headers=((name, value), ("etag", '"own"')))

    response = resource.ask(cid)

    assert response.headers[name] == value
    assert response.headers.get("Cache-Control") == cache_control
    assert response.headers["ETag"] == '"own"'


@pytest.mark.parametrize("given", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_who_has_the_reply_is_not_sent_it_again(resource, issue, given):
    cid = issue()
    resource.put(cid, headers=(("content-type", "a/b"),))

    response = resource.ask(cid, If_None_Match=given.format(cid.text))

    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == f'"{cid.text}"'
    assert response.headers["Cache-Control"].startswith("private, max-age=")
    assert "Content-Type" not in response.headers


def test_who_has_another_is_sent_the_reply(resource, issue):
    cid = issue()
    resource.put(cid)

    for given in ('"other"', cid.text[:-1], "", '"'):
        assert resource.ask(cid, If_None_Match=given).status_code == 200


def test_an_error_status_is_sent_again_whatever_the_client_has(resource, issue):
    """Conditions are for what would be a success: RFC 9110, section 13.2.1."""
    cid = issue()
    resource.put(cid, status=422)

    assert resource.ask(cid, If_None_Match=f'"{cid.text}"').status_code == 422


def test_head_tells_the_same_without_the_body(resource, issue, monkeypatch):
    cid = issue()
    resource.put(cid, headers=(("content-type", "a/b"),))
    # How long it may be kept is told in whole seconds: no second ends between the two.
    now_ms = epoch_ms()
    monkeypatch.setattr("rendezvous.correlation.epoch_ms", lambda: now_ms)
    whole, head = resource.ask(cid), resource.ask(cid, "HEAD")

    assert head.data == b""
    assert head.status_code == whole.status_code == 200
    assert head.headers == whole.headers
    assert resource.ask(issue(), "HEAD").status_code == 202
    assert resource.ask("invented", "HEAD").status_code == 404


@pytest.mark.parametrize("outcome", [Outcome.UNUSABLE, Outcome.FAILED])
def test_a_reply_that_is_no_response_is_a_bad_gateway_that_nobody_keeps(resource, issue, outcome):
    cid = issue()
    resource.put(cid, status=502, outcome=outcome, detail="why")

    response = resource.ask(cid)

    assert response.status_code == 502
    assert response.headers["Cache-Control"] == "no-store"


def test_a_pending_reply_is_promised_and_the_promise_is_not_kept(resource, issue):
    cid = issue()

    response = resource.ask(cid)

    assert response.status_code == 202
    assert response.json == {
        "correlation_id": cid.text,
        "status": "pending",
        "status_url": f"/replies/{cid.text}",
    }
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Location"] == f"/replies/{cid.text}"


def test_what_is_over_is_gone(resource, issue):
    assert_problem(resource.ask(issue(-61_000)), 410, "reply-expired")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_without_redis_nobody_knows(resource, issue, redis_server, method):
    redis_server.connected = False

    problem = assert_problem(resource.ask(issue(), method), 503, "reply-store-unavailable")

    assert "cannot be reached" in problem["detail"]


# Whose it is


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_anothers_reply_cannot_be_told_from_one_that_never_was(resource, issue, method, store):
    cid = issue(owner="red")
    resource.put(cid)
    resource.caller[0] = "blue"
    anothers = resource.ask(cid, method)
    invented = resource.ask(altered(cid.text), method)

    assert anothers.status_code == invented.status_code == 404
    told = anothers.text.replace(cid.text, "ID")
    assert told == invented.text.replace(altered(cid.text), "ID")
    assert sorted(anothers.headers) == sorted(invented.headers)
    assert "X-Correlation-ID" not in anothers.headers
    assert store.fetch(cid.text) == Reply(cid.text, b"the reply")


def test_its_owner_gets_the_reply(resource, issue):
    cid = issue(owner="red")
    resource.put(cid)
    resource.caller[0] = "red"

    assert resource.ask(cid).status_code == 200


def test_nobodys_reply_is_not_for_those_with_a_name(resource, issue):
    cid = issue()
    resource.put(cid)
    resource.caller[0] = "red"

    assert_problem(resource.ask(cid), 404, "unknown-reply")


# Waiting


def test_who_waits_gets_the_reply_in_one_call(resource, issue, mailbox):
    cid = issue()
    asked = resource.ask_in_the_background(cid, Prefer="wait=20")
    eventually(lambda: cid.text in mailbox._waiters)
    resource.put(cid)
    response = asked.result(10)

    assert (response.status_code, response.data) == (200, b"the reply")
    assert response.headers["Preference-Applied"] == "wait=20"
    assert response.headers["Cache-Control"].startswith("private")
    assert list(mailbox._waiters) == []


def test_who_waits_in_vain_gets_the_promise_again(resource, issue, mailbox):
    response = resource.ask(issue(), Prefer="wait=1")

    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=1"
    assert list(mailbox._waiters) == []


def test_a_reply_that_only_the_last_look_finds_is_answered(resource, issue, monkeypatch):
    cid = issue()

    def meanwhile(self, correlation_id, wait_s, client):
        resource.put(cid)
        return None, True

    monkeypatch.setattr(LongPolls, "wait", meanwhile)

    assert resource.ask(cid, Prefer="wait=1").status_code == 200


@pytest.mark.parametrize("preference", ["", "wait=0", "wait=x", "respond-async"])
def test_who_does_not_want_to_wait_does_not(resource, issue, monkeypatch, preference):
    monkeypatch.setattr(LongPolls, "wait", None)

    response = resource.ask(issue(), Prefer=preference)

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_what_is_there_is_not_waited_for(resource, issue, monkeypatch):
    monkeypatch.setattr(LongPolls, "wait", None)
    cid = issue()
    resource.put(cid)

    response = resource.ask(cid, Prefer="wait=20")

    assert response.status_code == 200
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize(("due_in_ms", "within_s"), [(60_000, MAX_WAIT_S), (-50_000, 10.0)])
def test_nobody_waits_longer_than_the_longest_or_than_the_reply_could_come(
    resource, issue, monkeypatch, due_in_ms, within_s
):
    waits_s = []

    def noted(self, correlation_id, wait_s, client):
        waits_s.append(wait_s)
        return None, True

    monkeypatch.setattr(LongPolls, "wait", noted)

    response = resource.ask(issue(due_in_ms), Prefer="wait=3600")

    assert waits_s == [pytest.approx(within_s, abs=2)]
    assert waits_s[0] <= within_s
    assert response.headers["Preference-Applied"] == "wait=25"


def test_a_wait_beyond_the_end_ends_as_gone(resource, issue):
    assert_problem(resource.ask(issue(-59_700), Prefer="wait=20"), 410, "reply-expired")


def test_waits_take_half_of_the_places_and_who_finds_none_is_answered_at_once(
    new_resource, issue, mailbox
):
    resource = new_resource(max_in_flight=4)
    cids = [issue() for _ in range(2)]
    waiting = [resource.ask_in_the_background(cid, Prefer="wait=20") for cid in cids]
    eventually(lambda: len(mailbox._waiters) == 2)
    third = resource.ask_in_the_background(issue(), Prefer="wait=20").result(10)
    with resource.admission.admit(), resource.admission.admit():
        pass  # requests find their places
    for cid in cids:
        resource.put(cid)

    assert third.status_code == 202
    assert "Preference-Applied" not in third.headers
    assert [asked.result(10).status_code for asked in waiting] == [200, 200]


def test_without_a_place_nobody_waits_and_nobody_is_told_an_error(new_resource, issue):
    resource = new_resource(max_in_flight=1)
    with resource.admission.admit():
        response = resource.ask_in_the_background(issue(), Prefer="wait=20").result(10)

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_places_are_given_back(new_resource, issue):
    resource = new_resource(max_in_flight=1)

    for _ in range(3):
        response = resource.ask(issue(), Prefer="wait=1")
        assert response.headers["Preference-Applied"] == "wait=1"
        with resource.admission.admit(), pytest.raises(Overloaded), resource.admission.admit():
            pass


def test_who_waits_is_answered_when_the_process_finishes(resource, issue, mailbox):
    asked = resource.ask_in_the_background(issue(), Prefer="wait=25")
    eventually(lambda: mailbox._waiters)
    resource.finishing.set()
    response = asked.result(10)

    assert response.status_code == 202
    assert "Preference-Applied" not in response.headers


def test_who_waits_for_a_request_that_is_refused_is_told_so(resource, issue, mailbox):
    cid = issue()
    asked = resource.ask_in_the_background(cid, Prefer="wait=20")
    eventually(lambda: mailbox._waiters)
    mailbox.settle(cid.text, PublishRefused("denied"))

    assert assert_problem(asked.result(10), 503, "not-sent")["sent"] == "no"


# Cancelling


def test_a_cancelled_request_is_answered_as_such_and_the_first_reply_stays(resource, issue, store):
    cid = issue(30_000)
    response = resource.ask(cid, "DELETE")
    late = store.put_many([(cid, Reply(cid.text, b"late"))])
    told = resource.ask(cid)

    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Cache-Control"] == "no-store"
    assert late == [Put.DUPLICATE]
    assert told.status_code == 410
    assert told.content_type == "application/problem+json"
    assert told.json["title"] == "Request Cancelled"
    assert told.json["type"] == "/problems/request-cancelled"
    assert told.json["correlation_id"] == cid.text == told.headers["X-Correlation-ID"]


def test_a_cancellation_is_kept_for_as_long_as_a_reply(resource, issue, redis):
    cid = issue(30_000, keep_s=600)
    resource.ask(cid, "DELETE")

    (key,) = redis.keys("reply:*")
    assert 620_000 < redis.pttl(key) <= 630_000


def test_whoever_waits_for_a_cancelled_request_is_answered_at_once(resource, issue, mailbox):
    cid = issue()
    waiting = resource.ask_in_the_background(cid, Prefer="wait=25")
    eventually(lambda: cid.text in mailbox._waiters)
    resource.ask(cid, "DELETE")

    assert waiting.result(10).json["title"] == "Request Cancelled"


def test_cancelling_again_does_nothing_more(resource, issue):
    cid = issue()

    assert [resource.ask(cid, "DELETE").status_code for _ in range(3)] == [204] * 3


@pytest.mark.parametrize("status", [200, 410, 500])
def test_what_is_answered_cannot_be_cancelled(resource, issue, status, cancellations):
    cid = issue()
    resource.put(cid, status=status)

    response = resource.ask(cid, "DELETE")

    problem = assert_problem(response, 409, "already-answered")
    assert problem["sent"] == "yes"
    assert response.headers["Location"] == problem["status_url"] == f"/replies/{cid.text}"
    assert cancellations.cancelled_since("")[0] == []
    assert resource.ask(cid).status_code == status


def test_what_is_over_cannot_be_cancelled(resource, issue, cancellations):
    assert_problem(resource.ask(issue(-61_000), "DELETE"), 410, "reply-expired")
    assert cancellations.cancelled_since("")[0] == []


def test_a_reply_that_goes_while_it_is_cancelled_is_gone(resource, issue, monkeypatch):
    cid = issue()
    resource.put(cid)
    monkeypatch.setattr(resource.store, "fetch", lambda text: None)

    assert_problem(resource.ask(cid, "DELETE"), 410, "reply-expired")


def test_the_responders_are_told_what_was_cancelled(resource, issue, cancellations):
    cid = issue()
    resource.ask(cid, "DELETE")

    assert cancellations.cancelled_since("")[0] == [cid.text]


def test_a_request_is_cancelled_although_no_responder_can_be_told(
    resource, issue, cancellations, monkeypatch, caplog
):
    def refused(text):
        raise StoreUnavailable("Redis denies this user a command or key")

    monkeypatch.setattr(cancellations, "mark_cancelled", refused)
    cid = issue()

    assert resource.ask(cid, "DELETE").status_code == 204
    assert resource.ask(cid).json["title"] == "Request Cancelled"
    assert "responders are not notified: Redis denies this user" in caplog.text


def test_a_cancellation_is_told_from_what_a_responder_says(issue):
    cid = issue().text

    assert is_cancellation(cancellation(cid))
    assert not is_cancellation(Reply(cid, status=410))
