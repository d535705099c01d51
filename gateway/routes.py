"""HTTP to request, reply to HTTP. Knows no Kafka and no Redis."""

import json
import logging
from collections.abc import Callable

from flask import Blueprint, Response, request, url_for
from werkzeug.exceptions import NotFound

from gateway.admission import Admission
from gateway.breaker import Breakers
from gateway.errors import (
    DOCUMENTED,
    BodyTooLarge,
    BodyUnreadable,
    Problem,
    ReplyExpired,
    ReplyStoreUnavailable,
    Sent,
    UnknownReply,
)
from gateway.readiness import Readiness
from gateway.requester import Requester, usable
from gateway.route_table import Route
from gateway.trace import trace_headers
from replies.contract import CONTENT_TYPE, Reply, Request
from replies.correlation import CorrelationIds
from replies.errors import ForeignCorrelationId, StoreUnavailable
from replies.store import ReplyStore

logger = logging.getLogger(__name__)

CORRELATION_ID = "X-Correlation-ID"
#: When a client should ask again for a reply that is pending, in seconds.
PENDING_RETRY_S = "1"
#: Of a body that is too large, so many times the limit is read and thrown away.
DISCARD_FACTOR = 4


class Exchange:
    """
    The views of the routes in routes.toml.

    Args:
        requester: exchanges a request for its reply.
        admission: turns requests away before they are read.
        breakers: turn away, likewise, those whose responder is dead.
        reply_topic: where responders reply to.
        max_body_bytes: the largest body that is forwarded.
    """

    def __init__(
        self,
        requester: Requester,
        admission: Admission,
        breakers: Breakers,
        reply_topic: str,
        max_body_bytes: int,
    ) -> None:
        self._requester = requester
        self._admission = admission
        self._breakers = breakers
        self._reply_topic = reply_topic
        self._max_body_bytes = max_body_bytes

    def view(self, route: Route) -> Callable[..., Response]:
        """Return the view of *route*."""

        def exchange(**parameters: object) -> Response:
            with self._admission.admit(), self._breakers.admit(route.topic):
                body = self._body()

                def new_request(correlation_id: str, deadline_ms: int) -> Request:
                    return Request(
                        correlation_id=correlation_id,
                        topic=route.topic,
                        reply_topic=self._reply_topic,
                        deadline_ms=deadline_ms,
                        body=body,
                        content_type=_text(request.headers.get("Content-Type")),
                        method=request.method,
                        path=request.path,
                        query=request.query_string.decode("utf-8", "replace"),
                        headers=(*_allowed_headers(route), *_trace_headers()),
                        key=_record_key(route, parameters),
                    )

                return reply_response(self._requester.send_and_receive(new_request))

        return exchange

    def _body(self) -> bytes:
        """Return the whole body, or raise BodyTooLarge without publishing a part of it."""
        limit = self._max_body_bytes
        try:
            # Werkzeug hands out one byte more than the limit, so that a chunked body, which does
            # not announce its length, is seen to be too large rather than cut.
            declared = request.content_length or 0
            body = request.get_data(cache=False) if declared <= limit else b""
            if len(body) < declared <= limit:
                # gunicorn ends the body where the client went away, without a word.
                raise EOFError(f"it broke off after {len(body)} of {declared} bytes")
            if declared <= limit and len(body) <= limit:
                return body
            _discard(limit * DISCARD_FACTOR)
        except Exception as error:
            # Whatever the server raises for it: each has errors of its own.
            raise BodyUnreadable(f"the body cannot be read: {error}", sent=Sent.NO) from error
        raise BodyTooLarge(
            f"the body exceeds the {limit} bytes of MAX_BODY_BYTES; send less", sent=Sent.NO
        )


def status_resource(ids: CorrelationIds, store: ReplyStore) -> Blueprint:
    """Return ``GET /replies/<correlation id>``, at which a reply can be fetched later."""
    blueprint = Blueprint("replies", __name__)

    @blueprint.get("/replies/<correlation_id>")
    def reply(correlation_id: str) -> Response:
        try:
            known = ids.read(correlation_id)
        except ForeignCorrelationId as error:
            raise UnknownReply(f"{correlation_id[:200]!r} was not issued here: {error}") from error
        try:
            found = store.fetch(correlation_id)
        except StoreUnavailable as error:
            raise ReplyStoreUnavailable(error.advice, correlation_id=correlation_id) from error
        if found is not None:
            return reply_response(usable(found))
        if store.is_over(known):
            raise ReplyExpired(
                f"the reply to {correlation_id} is no longer kept", correlation_id=correlation_id
            )
        return _json(
            {"correlation_id": correlation_id, "status": "pending"},
            202,
            {"Retry-After": PENDING_RETRY_S, "Cache-Control": "no-store"},
        )

    return blueprint


def probes(readiness: Readiness, node: Callable[[], str]) -> Blueprint:
    """
    Return ``GET /livez``, which asks nobody, and ``GET /readyz``, which says what is missing.

    Several workers share a port; *node* tells which of them speaks, as in the ids it issues.
    """
    blueprint = Blueprint("probes", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return _json({"status": "alive"}, 200, {"Cache-Control": "no-store"})

    @blueprint.get("/readyz")
    def readyz() -> Response:
        problems = readiness.problems()
        state = {
            "status": "not ready" if problems else "ready",
            "node": node(),
            "problems": problems,
            "warnings": readiness.warnings(),
        }
        return _json(state, 503 if problems else 200, {"Cache-Control": "no-store"})

    return blueprint


def problem_pages() -> Blueprint:
    """Return ``GET /problems/<kind>``, where the types of our problem details are explained."""
    blueprint = Blueprint("problems", __name__)

    @blueprint.get("/problems/<kind>")
    def page(kind: str) -> Response:
        problem = DOCUMENTED.get(kind)
        if problem is None:
            raise NotFound(f"no such problem; there are {', '.join(DOCUMENTED)}")
        return Response(f"{problem.title}\n\n{problem.meaning}\n", mimetype="text/plain")

    return blueprint


def reply_response(reply: Reply) -> Response:
    """Return *reply* as the HTTP response that it is."""
    response = Response(reply.body, status=reply.status)
    # Flask would call bytes without a type "text/html".
    response.headers.remove("Content-Type")
    for name, value in reply.headers:
        if name == CONTENT_TYPE:
            response.headers["Content-Type"] = value
        else:
            response.headers.add(name, value)
    response.headers[CORRELATION_ID] = reply.correlation_id
    return response


def problem_response(problem: Problem) -> Response:
    """Return *problem* as problem details (RFC 9457)."""
    headers = dict(problem.headers)
    correlation_id = problem.correlation_id
    if correlation_id is not None:
        headers[CORRELATION_ID] = correlation_id
        if problem.sent in (Sent.YES, Sent.UNKNOWN) and problem.status != 502:
            problem.headers["Location"] = headers["Location"] = url_for(
                "replies.reply", correlation_id=correlation_id
            )
        logger.warning("%s: %s: %s", correlation_id, problem.kind, problem.detail)
    response = Response(
        json.dumps(problem.body()),
        status=problem.status,
        mimetype="application/problem+json",
    )
    response.headers.extend(headers)
    return response


def _json(value: object, status: int, headers: dict[str, str]) -> Response:
    return Response(json.dumps(value), status, headers, mimetype="application/json")


def _discard(max_bytes: int) -> None:
    """Read on, so that a client which sends first and listens later gets to hear our answer."""
    rest = request.environ["wsgi.input"]
    while max_bytes > 0 and (chunk := rest.read(65_536)):
        max_bytes -= len(chunk)


def _text(value: str | None) -> str | None:
    """Return a header value as the text it is: UTF-8 when it can be, else Latin-1 (PEP 3333)."""
    if value is None:
        return None
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _allowed_headers(route: Route) -> list[tuple[str, str]]:
    return [
        (name.lower(), _text(value) or "")
        for name in route.headers
        for value in request.headers.getlist(name)
    ]


def _trace_headers() -> list[tuple[str, str]]:
    headers = request.headers
    return trace_headers(headers.get("traceparent", ""), headers.get("tracestate", ""))


def _record_key(route: Route, parameters: dict[str, object]) -> bytes | None:
    if route.key is None:
        return None
    kind, _, name = route.key.partition(":")
    value = parameters.get(name) if kind == "path" else _text(request.headers.get(name))
    return None if value is None else str(value).encode()
