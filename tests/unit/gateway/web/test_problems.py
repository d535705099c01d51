"""Problem details, and their HTML pages."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.problems import (
    DOCUMENTED,
    HttpProblem,
    InsufficientScope,
    InvalidBody,
    KeptRepliesFull,
    Overloaded,
    Problem,
    RateLimited,
    ReplyTimeout,
    Sent,
    Unauthorized,
)
from gateway.server.http.refusals import raw_response
from gateway.web.pages.html import CONTENT_SECURITY_POLICY, render
from tests.strategies import pointed_texts

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture
def client(new_app):
    return new_app().test_client()


def new_problem(kind, sent):
    """Return a problem of *kind*."""
    if issubclass(kind, InvalidBody):
        return kind("detail", [{"path": "/a", "fault": "wrong"}])
    if issubclass(kind, Unauthorized):
        return kind("detail", key_given=True, sent=sent)
    if issubclass(kind, InsufficientScope):
        return kind("detail", ["orders:write"], sent)
    if issubclass(kind, ReplyTimeout):
        return kind("detail", status=503, correlation_id="id", sent=sent)
    if issubclass(kind, KeptRepliesFull):
        return kind("detail", status=503)
    return kind("detail", sent=sent)


# Whether to retry


@pytest.mark.parametrize(
    "kind",
    [kind for kind in DOCUMENTED.values() if not issubclass(kind, InvalidBody | KeptRepliesFull)],
)
@pytest.mark.parametrize("sent", [Sent.YES, Sent.UNKNOWN])
def test_a_request_that_may_have_been_sent_is_not_retryable(kind, sent):
    assert new_problem(kind, sent).body()["retryable"] is False


@pytest.mark.parametrize("kind", DOCUMENTED.values(), ids=DOCUMENTED)
@pytest.mark.parametrize("sent", [Sent.NO, None])
def test_a_request_that_was_not_sent_is_retryable_if_the_status_is_temporary(kind, sent):
    problem = new_problem(kind, sent)

    assert problem.body()["retryable"] is (problem.status in (408, 429, 503))


@pytest.mark.parametrize(
    ("status", "sent", "retryable"),
    [(408, Sent.NO, True), (429, Sent.NO, True), (400, Sent.NO, False), (404, Sent.NO, False),
     (431, Sent.NO, False), (500, None, False), (308, Sent.NO, False)],
)  # fmt: skip
def test_of_http_errors_only_408_and_429_are_retryable(status, sent, retryable):
    assert HttpProblem(status, "Title", "detail", {}, sent).retryable is retryable


def test_retryable_problems_have_retry_after():
    # RateLimiter sets that of RateLimited to the end of the window.
    for kind in set(DOCUMENTED.values()) - {RateLimited}:
        problem = new_problem(kind, Sent.NO)
        assert not problem.retryable or "Retry-After" in problem.headers


def test_responses_written_by_the_server_have_retryable_too():
    body = raw_response(Overloaded("full", sent=Sent.NO)).partition(b"\r\n\r\n")[2]

    assert json.loads(body)["retryable"] is True


# HTML pages


@pytest.mark.parametrize(
    "accept",
    [BROWSER, "text/html", "text/html;q=0.2, application/json;q=0.1", "text/html, */*;q=0.9",
     "text/*", "application/*;q=0.5, text/html;q=0.6", "TEXT/HTML"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/nowhere", "/problems", "/problems/overloaded", "/replies/x"])
def test_clients_that_prefer_html_get_a_page(client, accept, path):
    response = client.get(path, headers={"Accept": accept})

    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.data.startswith(b"<!doctype html>")
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Accept" in response.headers["Vary"]


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", "application/json", "application/problem+json", "image/png",
     "text/html;q=0", "text/html;q=0.5, application/json", "text/html, application/json",
     "application/*, text/html;q=0.9", "text/html;q=0.5, */*", "text/html;q=2e9;",
     "text/html;q=nan", ";;,q=1,/,*/html", "text/html;q=-1"],
)  # fmt: skip
def test_other_clients_get_problem_details(client, accept):
    response = client.get("/nowhere", headers={} if accept is None else {"Accept": accept})

    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json["status"] == 404
    assert response.headers["Vary"] == "Accept"


def test_a_page_has_the_status_and_headers_of_its_problem(client):
    response = client.get("/echo", headers={"Accept": "text/html"})

    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]


def test_a_page_has_the_same_facts_as_problem_details(publisher, new_app):
    publisher.responder = lambda request: None
    app = new_app(reply_timeout_s=0.05)

    response = app.test_client().post("/echo", headers={"Accept": "text/html"})

    assert response.status_code == 503
    correlation_id = publisher.published[0].correlation_id
    for text in (
        "no reply to", correlation_id, f'href="/replies/{correlation_id}"',
        'href="/problems/reply-timeout"', "<dd>yes</dd>", "<dd>no</dd>", "503",
    ):  # fmt: skip
        assert text in response.text
    assert response.headers["Location"] == f"/replies/{correlation_id}"
    assert response.headers["X-Correlation-ID"] == correlation_id


def test_the_list_links_to_every_problem_type(client):
    page = client.get("/problems", headers={"Accept": "text/html"}).text
    text = client.get("/problems").text

    for kind in DOCUMENTED.values():
        assert f'href="{kind.type_path()}"' in page
        assert kind.type_path() in text
        explained = client.get(kind.type_path(), headers={"Accept": "text/html"})
        assert explained.status_code == 200
        assert kind.title in explained.text


class Tags(HTMLParser):
    """The tags, attributes, links and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags = set()
        self.attributes = set()
        self.text = ""
        self.links = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.links += [value for name, value in attributes if name == "href"]

    def handle_data(self, data):
        self.text += data


hostile = pointed_texts | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;", "</style>", "'", "<!--"]
)


@given(hostile, hostile, hostile, hostile)
def test_input_of_clients_never_becomes_markup(title, detail, correlation_id, location):
    problem = HttpProblem(400, title, detail, {"Location": location})
    problem.correlation_id = correlation_id

    page = Tags(render("problem.html", **problem.body()))

    assert page.tags <= {"html", "meta", "title", "style", "h1", "dl", "dt", "dd", "p", "a"}
    assert page.attributes <= {"lang", "charset", "name", "content", "href"}
    assert page.links == [location]
    for text in (title, detail, correlation_id):
        assert normalised(text) in normalised(page.text)


def normalised(text):
    return re.sub(r"\s+", " ", text.replace("\x00", "")).strip()


@given(hostile, hostile)
def test_the_faults_of_a_body_are_listed_and_never_become_markup(path, fault):
    problem = InvalidBody("it does not fit", [{"path": path, "fault": fault}])
    page = Tags(render("problem.html", **problem.body()))

    assert page.tags <= {
        "html", "meta", "title", "style", "h1", "dl", "dt", "dd", "p", "a", "ul", "li"
    }  # fmt: skip
    assert normalised(f"{path} {fault}") in normalised(page.text)


def test_markup_in_the_path_is_escaped(client):
    response = client.get("/<script>alert(1)</script>", headers={"Accept": "text/html"})

    assert b"<script" not in response.data
    assert b"&lt;script&gt;" in response.data


@pytest.mark.parametrize("path", ["/problems", *(f"/problems/{kind}" for kind in DOCUMENTED)])
def test_pages_load_and_run_nothing_and_match_their_policy(client, path):
    page = client.get(path, headers={"Accept": "text/html"}).text

    assert not Tags(page).tags & {"script", "img", "link", "iframe", "form"}
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'")


def test_every_problem_type_has_a_meaning_and_advice_of_at_most_two_sentences():
    for kind in DOCUMENTED.values():
        assert issubclass(kind, Problem)
        for text in (kind.meaning, kind.retry):
            assert text.endswith(".")
            assert len(re.findall(r"\.(?= |$)", text)) <= 2
