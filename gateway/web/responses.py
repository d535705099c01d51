"""Replies, problems and what else we say, as HTTP responses."""

import json
import logging
from collections.abc import Collection, Iterable
from typing import Any

from flask import Response, request, url_for
from werkzeug.datastructures import Headers
from werkzeug.http import HTTP_STATUS_CODES

from gateway.problems import Problem, Sent
from gateway.web.pages import CONTENT_SECURITY_POLICY, problem_page
from gateway.web.request import Environ
from gateway.web.trace import REQUEST_ID, request_id_of
from rendezvous.contract import CONTENT_TYPE, LISTED_REPLY_HEADERS, Reply

logger = logging.getLogger(__name__)

CORRELATION_ID = "X-Correlation-ID"
_OURS = CORRELATION_ID.lower()
#: When a client should ask again for a reply that is pending, in seconds.
PENDING_RETRY_S = "1"


class ReplyResponse(Response):
    """A response whose headers are complete unless HTTP or Werkzeug has rules for it."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer as a WSGI application."""
        if environ["REQUEST_METHOD"] == "HEAD" or not is_plain(self.status_code, self.headers):
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        return self.response


def is_plain(status: int, headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether a response goes out as it is: it may have a body, and has no Location."""
    # Werkzeug removes body headers from 204 and 304, and encodes the URL in Location.
    return status not in (204, 304) and all(name.lower() != "location" for name, _ in headers)


def status_line(code: int) -> str:
    """Return *code* with its reason phrase."""
    return f"{code} {HTTP_STATUS_CODES.get(code, 'Unknown').upper()}"


def reply_response(reply: Reply, listed: Collection[str] = ()) -> Response:
    """
    Return *reply* as the HTTP response that it is.

    Args:
        listed: the LISTED_REPLY_HEADERS, in lower case, that its route lets through.
    """
    response = ReplyResponse([reply.body], status_line(reply.status))
    # Replaced, not extended: Flask would add the type text/html to a reply without a type.
    response.headers = Headers(reply_headers(reply, listed))
    return response


def reply_headers(reply: Reply, listed: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the headers of the HTTP response that *reply* is; see reply_response()."""
    headers = [("Content-Length", str(len(reply.body)))]
    content_type = None
    for name, value in reply.headers:
        lower = name.lower()
        if lower == CONTENT_TYPE:
            content_type = value  # the last one counts
        elif lower != _OURS and (lower not in LISTED_REPLY_HEADERS or lower in listed):
            headers.append((name, value))
    if content_type is not None:
        headers.insert(1, ("Content-Type", content_type))
    headers.append((CORRELATION_ID, reply.correlation_id))
    return headers


def pending_response(correlation_id: str) -> Response:
    """Return the promise of a reply: where to ask for it, and when."""
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


def problem_response(problem: Problem) -> Response:
    """Return *problem* as problem details (RFC 9457), or as a page for who prefers that."""
    # Without a word of it, caches may keep a 404 or a 410 for as long as they see fit.
    headers = {"Cache-Control": "no-store"} | problem.headers
    correlation_id = problem.correlation_id
    if correlation_id is not None:
        headers[CORRELATION_ID] = correlation_id
        if problem.sent in (Sent.YES, Sent.UNKNOWN) and problem.status != 502:
            problem.headers["Location"] = headers["Location"] = status_url_of(correlation_id)
        logger.warning("%s: %s: %s", correlation_id, problem.kind, problem.detail)
    response = _page_or_json(problem)
    response.status_code = problem.status
    response.headers.extend(headers)
    response.vary.add("Accept")
    return response


def _page_or_json(problem: Problem) -> Response:
    if prefers_html():
        return page_response(problem_page(problem))
    return Response(json.dumps(problem.body()), mimetype="application/problem+json")


def page_response(page: str) -> Response:
    """Return a *page* of ours; who prefers another type would have got that."""
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept",
    }
    return Response(page, headers=headers, mimetype="text/html")


def prefers_html() -> bool:
    """Say whether the client would rather have a page than JSON (RFC 9110, section 12.5.1)."""
    accepted = request.accept_mimetypes
    json_q = max(
        accepted.quality(kind) for kind in ("application/problem+json", "application/json")
    )
    return accepted.quality("text/html") > json_q


def echo_request_id(response: Response) -> Response:
    """Add the client's X-Request-ID to *response*; an after_request hook."""
    request_id = request_id_of(request.environ)
    if request_id is not None:
        response.headers[REQUEST_ID] = request_id
    return response


def with_request_id(headers: list[tuple[str, str]], environ: Environ) -> list[tuple[str, str]]:
    """Return *headers* with the client's X-Request-ID, if the request has a valid one."""
    request_id = request_id_of(environ)
    if request_id is None:
        return headers
    others = [(name, value) for name, value in headers if name.lower() != REQUEST_ID.lower()]
    return [*others, (REQUEST_ID, request_id)]


def json_response(value: object, status: int, headers: dict[str, str]) -> Response:
    """Return *value* as JSON."""
    return Response(json.dumps(value), status, headers, mimetype="application/json")


def status_url_of(correlation_id: str) -> str:
    """Return where the reply to *correlation_id* can be asked for."""
    return url_for("replies.reply", correlation_id=correlation_id)
