"""HTTP responses: replies, pending replies, problems."""

import json
import logging
from collections.abc import Collection
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, request, url_for
from werkzeug.datastructures import Headers

from gateway.clients.client import request_id_of
from gateway.clients.request_facts import (
    PROBLEM_ENVIRON_KEY,
    ROUTE_ENVIRON_KEY,
    SENT_ENVIRON_KEY,
    request_fields,
)
from gateway.metrics import NO_ROUTE, outcomes_of
from gateway.problems import HttpProblem, Problem, Sent
from gateway.web.conditions import evaluate_conditions
from gateway.web.pages.html import page_response, prefers_html, render
from gateway.web.trace import REQUEST_ID
from rendezvous.contract import CONTENT_TYPE, Reply
from rendezvous.reply_headers import LISTED_REPLY_HEADERS, is_withheld

logger = logging.getLogger(__name__)

CORRELATION_ID = "X-Correlation-ID"
_CORRELATION_ID_LOWER = CORRELATION_ID.lower()
#: Reason phrases, in upper case as Werkzeug sends them.
_PHRASES = {status.value: status.phrase.upper() for status in HTTPStatus}
#: Browsers take the type of a body from Content-Type alone. Every response has it.
NOSNIFF = ("X-Content-Type-Options", "nosniff")
#: Key in the configuration of the application: whether a reply can be fetched later.
KEEPS_REPLIES = "KEEPS_REPLIES"
#: Retry-After of a pending reply, in seconds.
PENDING_RETRY_S = "1"


class ReplyResponse(Response):
    """A response that skips Werkzeug's header processing where it would change nothing."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer as a WSGI application."""
        # It removes the body of HEAD, body headers from 204 and 304, and encodes a Location.
        if (
            environ["REQUEST_METHOD"] == "HEAD"
            or self.status_code in (204, 304)
            or "Location" in self.headers
        ):
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        return self.response


def status_line(code: int) -> str:
    """Return *code* with its reason phrase."""
    return f"{code} {_PHRASES.get(code, 'UNKNOWN')}"


def reply_response(reply: Reply, listed: Collection[str] = (), default_type: str = "") -> Response:
    """
    Return the HTTP response that *reply* describes.

    Args:
        listed: the LISTED_REPLY_HEADERS, in lower case, that the route allows.
        default_type: the content type of a body without one.
    """
    if reply.status == HTTPStatus.RESET_CONTENT:
        reply = replace(reply, body=b"")  # RFC 9110, section 15.3.6
    response = ReplyResponse([reply.body], status_line(reply.status))
    # Replaced, not extended: Flask would add the type text/html to a reply without a type.
    response.headers = Headers(reply_headers(reply, listed, default_type))
    return response


def reply_headers(
    reply: Reply, listed: Collection[str] = (), default_type: str = ""
) -> list[tuple[str, str]]:
    """Return the headers of the HTTP response that *reply* describes; see reply_response()."""
    headers = [("Content-Length", str(len(reply.body)))]
    content_type = ""
    for name, value in reply.headers:
        lower = name.lower()
        if lower == CONTENT_TYPE:
            content_type = value  # the last one counts
        elif lower in LISTED_REPLY_HEADERS:
            if lower in listed:
                headers.append((name, value))
        elif lower != _CORRELATION_ID_LOWER and not is_withheld(lower):
            headers.append((name, value))
    if not content_type and reply.body:
        content_type = default_type
    if content_type:
        headers.insert(1, ("Content-Type", content_type))
    headers.append(NOSNIFF)
    headers.append((CORRELATION_ID, reply.correlation_id))
    return headers


def for_caches(response: Response, *, is_private: bool) -> None:
    """
    Make *response* to a GET or HEAD one that caches can keep, and evaluate its conditions.

    Without Cache-Control or Expires caches may keep it, and ask each time whether it is current;
    the default of HTTP would let them guess for how long it is.

    Args:
        is_private: whether it may be meant for one client alone.

    Raises:
        HttpProblem: 412, for an If-Match that does not match.
    """
    headers = response.headers
    if "Cache-Control" not in headers and "Expires" not in headers:
        headers["Cache-Control"] = "private, no-cache" if is_private else "no-cache"
    # RFC 9110, section 13.2.1: conditions apply to successful responses only.
    if not 200 <= response.status_code < 300:
        return
    evaluate_conditions(response, request.environ)
    if response.status_code == HTTPStatus.PRECONDITION_FAILED:
        detail = "the reply has another ETag than If-Match; fetch it without If-Match"
        raise HttpProblem(412, "Precondition Failed", detail, {}, Sent.YES)


def pending_response(correlation_id: str) -> Response:
    """Return the 202 for a pending reply: where to fetch it, and when."""
    status_url = status_url_of(correlation_id)
    return json_response(
        {"correlation_id": correlation_id, "status": "pending", "status_url": status_url},
        202,
        {
            CORRELATION_ID: correlation_id,
            "Location": status_url,
            "Retry-After": PENDING_RETRY_S,
            "Cache-Control": "no-store",
        },
    )


def accepted_response(correlation_id: str) -> Response:
    """Return the 202 for a request that gets no reply, and that Kafka has."""
    return json_response(
        {"correlation_id": correlation_id, "status": "accepted"},
        202,
        {CORRELATION_ID: correlation_id, "Cache-Control": "no-store"},
    )


def problem_response(problem: Problem) -> Response:
    """Return *problem* as problem details (RFC 9457) or as an HTML page, and count it."""
    request.environ[PROBLEM_ENVIRON_KEY] = problem.kind
    request.environ[SENT_ENVIRON_KEY] = problem.sent
    outcomes_of(request.environ.get(ROUTE_ENVIRON_KEY, NO_ROUTE), problem.kind).inc()
    # By default caches may store a 404 or a 410.
    headers = {"Cache-Control": "no-store"} | problem.headers
    correlation_id = problem.correlation_id
    if correlation_id is not None:
        headers[CORRELATION_ID] = correlation_id
        is_kept = problem.may_be_answered and current_app.config.get(KEEPS_REPLIES, True)
        if is_kept and problem.sent in (Sent.YES, Sent.UNKNOWN) and problem.status != 502:
            problem.headers["Location"] = headers["Location"] = status_url_of(correlation_id)
        logger.warning(
            "%s: %s",
            problem.kind,
            problem.detail,
            extra=request_fields(request.environ, correlation_id),
        )
    response = _page_or_json(problem)
    response.status_code = problem.status
    response.headers.extend(headers)
    response.vary.add("Accept")
    return response


def _page_or_json(problem: Problem) -> Response:
    if prefers_html():
        return page_response(render("problem.html", **problem.body()))
    body = json.dumps(problem.body())
    return Response(body, headers=[NOSNIFF], mimetype="application/problem+json")


def echo_request_id(response: Response) -> Response:
    """Add the client's X-Request-ID to *response*; an after_request hook."""
    request_id = request_id_of(request.environ)
    if request_id is not None:
        response.headers[REQUEST_ID] = request_id
    return response


def forbid_sniffing(response: Response) -> Response:
    """Add nosniff to a *response* that has none; an after_request hook."""
    if not isinstance(response, ReplyResponse):  # which has it
        response.headers.setdefault(*NOSNIFF)
    return response


def json_response(value: object, status: int, headers: dict[str, str]) -> Response:
    """Return *value* as JSON."""
    headers = headers | dict([NOSNIFF])
    return Response(json.dumps(value), status, headers, mimetype="application/json")


def status_url_of(correlation_id: str) -> str:
    """Return the URL at which the reply to *correlation_id* can be fetched."""
    return url_for("replies.reply", correlation_id=correlation_id)
