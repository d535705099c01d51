"""HTTP to request, reply to HTTP, over the routes of routes.toml. Knows no Kafka and no Redis."""

from collections.abc import Callable
from functools import partial

from flask import Response, request

from gateway.bodies import read_body
from gateway.breaker import Breakers
from gateway.callers import Callers
from gateway.cancellation import is_cancellation
from gateway.clients import Client
from gateway.errors import InvalidBody, ReplyTimeout
from gateway.headers import Environ, as_text, environ_key, header_text
from gateway.idempotency import KEY_HEADER, REPLAYED_HEADER, claim_name, key_of
from gateway.once import Answer, Once
from gateway.preferences import Preferences
from gateway.requester import Requester, Terms, Ticket
from gateway.responses import pending_response, reply_response
from gateway.route_table import Route
from gateway.trace import REQUEST_ID, request_id, trace_headers
from replies.contract import Reply, Request

_PREFER, _KEY, _REQUEST_ID = map(environ_key, ("Prefer", KEY_HEADER, REQUEST_ID))


class Exchange:
    """
    The views of the routes in routes.toml.

    Args:
        requester: exchanges a request for its reply.
        once: has one request published for each idempotency key.
        callers: turn requests away before they are read.
        breakers: turn away those whose responder is dead.
        reply_topic: where responders reply to.
        reply_timeout_s: how long a client waits, where route and client say nothing else.
        max_body_bytes: the largest body that is forwarded.
    """

    def __init__(
        self,
        requester: Requester,
        once: Once,
        callers: Callers,
        breakers: Breakers,
        reply_topic: str,
        reply_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self._requester = requester
        self._once = once
        self._callers = callers
        self._breakers = breakers
        self._reply_topic = reply_topic
        self._reply_timeout_s = reply_timeout_s
        self._max_body_bytes = max_body_bytes

    def view(self, route: Route) -> Callable[..., Response]:
        """Return the view of *route*."""
        allowed = [(name.lower(), environ_key(name)) for name in route.headers]

        def exchange(**parameters: object) -> Response:
            with self._callers.admit() as client:
                body = self._body(route)
                environ = request.environ
                preferences = Preferences.parse(_lines(environ, _PREFER))
                key = key_of(_lines(environ, _KEY), required=route.idempotency == "required")
                terms = self._terms(route, preferences, key, client)
                ticket = self._requester.issue(terms)
                headers = [(name, as_text(environ[at])) for name, at in allowed if at in environ]
                new_request = self._request(route, ticket, body, parameters, headers)
                try:
                    answer = self._answer(route, key, ticket, new_request)
                except ReplyTimeout as problem:
                    problem.headers |= _applied(preferences, terms, is_pending=False)
                    raise
            return _response(route, answer, preferences, terms)

        return exchange

    def _body(self, route: Route) -> bytes:
        if route.max_body_bytes is None:
            body = read_body(self._max_body_bytes, "MAX_BODY_BYTES")
        else:
            body = read_body(route.max_body_bytes, f"the route {route.path}")
        faults = [] if route.schema is None else route.schema.faults(body)
        if faults:
            raise InvalidBody(
                f"the body does not fit the schema of {route.path}: see faults", faults
            )
        return body

    def _terms(
        self, route: Route, preferences: Preferences, key: str | None, client: Client
    ) -> Terms:
        usual_s = route.wait_s(self._reply_timeout_s)
        longest_s = route.longest_wait_s(self._reply_timeout_s)
        wait_s = preferences.wait_within_s(usual_s, longest_s)
        # Who does not wait leaves the responder as much time as it can have.
        deadline_s = longest_s if preferences.respond_async else wait_s
        keep_s = 0 if key is None else self._once.ttl_s
        return Terms(wait_s, deadline_s, preferences.respond_async, client.name, keep_s)

    def _answer(
        self, route: Route, key: str | None, ticket: Ticket, new_request: Request
    ) -> Answer:
        publish = partial(self._exchange, route, ticket, new_request)
        if key is None:
            return Answer(ticket.correlation_id, publish())
        name = claim_name(ticket.terms.owner, key)
        return self._once.answer(name, ticket, new_request, publish)

    def _exchange(self, route: Route, ticket: Ticket, new_request: Request) -> Reply | None:
        with self._breakers.admit(route.topic) as passage:
            passage.hurried = ticket.terms.wait_s < route.wait_s(self._reply_timeout_s)
            reply = self._requester.exchange(ticket, new_request)
            passage.pending = reply is None or is_cancellation(reply)
            return reply

    def _request(
        self,
        route: Route,
        ticket: Ticket,
        body: bytes,
        parameters: dict[str, object],
        headers: list[tuple[str, str]],
    ) -> Request:
        environ = request.environ
        query: str = environ.get("QUERY_STRING", "")
        return Request(
            correlation_id=ticket.correlation_id,
            topic=route.topic,
            reply_topic=self._reply_topic,
            deadline_ms=ticket.deadline_ms,
            body=body,
            content_type=header_text(environ, "CONTENT_TYPE"),
            method=environ["REQUEST_METHOD"],
            path=request.path,
            query=query.encode("latin-1").decode("utf-8", "replace"),
            headers=(*headers, *_trace_headers(environ)),
            key=_record_key(route, parameters, environ),
        )


def _response(route: Route, answer: Answer, preferences: Preferences, terms: Terms) -> Response:
    reply = answer.reply
    if reply is None:
        response = pending_response(answer.correlation_id)
    else:
        response = reply_response(reply, route.response_headers)
    if answer.is_replayed:
        response.headers[REPLAYED_HEADER] = "true"
    response.headers.extend(_applied(preferences, terms, is_pending=reply is None))
    return response


def _applied(preferences: Preferences, terms: Terms, *, is_pending: bool) -> dict[str, str]:
    applied = preferences.applied(terms.wait_s, is_pending)
    return {"Preference-Applied": applied, "Vary": "Prefer"} if applied else {}


def _lines(environ: Environ, key: str) -> list[str]:
    # WSGI joins the lines of one header.
    value = environ.get(key)
    return [] if value is None else [value]


def _trace_headers(environ: Environ) -> list[tuple[str, str]]:
    get = environ.get
    found = trace_headers(get("HTTP_TRACEPARENT", ""), get("HTTP_TRACESTATE", ""))
    theirs = request_id(get(_REQUEST_ID, ""))
    return found if theirs is None else [*found, (REQUEST_ID.lower(), theirs)]


def _record_key(route: Route, parameters: dict[str, object], environ: Environ) -> bytes | None:
    if route.key is None:
        return None
    kind, _, name = route.key.partition(":")
    value = parameters.get(name) if kind == "path" else header_text(environ, environ_key(name))
    return None if value is None else str(value).encode()
