"""HTTP to request, reply to HTTP, over the routes of routes.toml. Knows no Kafka and no Redis."""

from collections.abc import Callable

from flask import Response, request

from gateway.bodies import read_body
from gateway.breaker import Breakers
from gateway.callers import Callers, current_client
from gateway.preferences import Preferences
from gateway.requester import Requester, Terms, Ticket
from gateway.responses import as_text, header_text, pending_response, reply_response
from gateway.route_table import Route
from gateway.trace import trace_headers
from replies.contract import Reply, Request


class Exchange:
    """
    The views of the routes in routes.toml.

    Args:
        requester: exchanges a request for its reply.
        callers: turn requests away before they are read.
        breakers: turn away, likewise, those whose responder is dead.
        reply_topic: where responders reply to.
        reply_timeout_s: how long a client waits, where route and client say nothing else.
        max_body_bytes: the largest body that is forwarded.
    """

    def __init__(
        self,
        requester: Requester,
        callers: Callers,
        breakers: Breakers,
        reply_topic: str,
        reply_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self._requester = requester
        self._callers = callers
        self._breakers = breakers
        self._reply_topic = reply_topic
        self._reply_timeout_s = reply_timeout_s
        self._max_body_bytes = max_body_bytes

    def view(self, route: Route) -> Callable[..., Response]:
        """Return the view of *route*."""

        def exchange(**parameters: object) -> Response:
            with self._callers.admit():
                body = read_body(self._max_body_bytes, "MAX_BODY_BYTES")
                preferences = Preferences.parse(request.headers.getlist("Prefer"))
                terms = self._terms(route, preferences)
                ticket = self._requester.issue(terms)
                reply = self._exchange(
                    route, ticket, self._request(route, ticket, body, parameters)
                )
            return _response(ticket.correlation_id, reply, preferences, terms)

        return exchange

    def _terms(self, route: Route, preferences: Preferences) -> Terms:
        usual_s = route.timeout_s or self._reply_timeout_s
        longest_s = route.max_timeout_s or usual_s
        wait_s = preferences.wait_within_s(usual_s, longest_s)
        # Who does not wait leaves the responder as much time as it can have.
        deadline_s = longest_s if preferences.respond_async else wait_s
        return Terms(wait_s, deadline_s, preferences.respond_async, current_client().name)

    def _exchange(self, route: Route, ticket: Ticket, new_request: Request) -> Reply | None:
        with self._breakers.admit(route.topic) as passage:
            passage.hurried = ticket.terms.wait_s < (route.timeout_s or self._reply_timeout_s)
            reply = self._requester.exchange(ticket, new_request)
            passage.pending = reply is None
            return reply

    def _request(
        self, route: Route, ticket: Ticket, body: bytes, parameters: dict[str, object]
    ) -> Request:
        return Request(
            correlation_id=ticket.correlation_id,
            topic=route.topic,
            reply_topic=self._reply_topic,
            deadline_ms=ticket.deadline_ms,
            body=body,
            content_type=header_text("Content-Type"),
            method=request.method,
            path=request.path,
            query=request.query_string.decode("utf-8", "replace"),
            headers=(*_allowed_headers(route), *_trace_headers()),
            key=_record_key(route, parameters),
        )


def _response(
    correlation_id: str, reply: Reply | None, preferences: Preferences, terms: Terms
) -> Response:
    response = pending_response(correlation_id) if reply is None else reply_response(reply)
    applied = preferences.applied(terms.wait_s, is_pending=reply is None)
    if applied:
        response.headers["Preference-Applied"] = applied
        response.vary.add("Prefer")
    return response


def _allowed_headers(route: Route) -> list[tuple[str, str]]:
    return [
        (name.lower(), as_text(value))
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
    value = parameters.get(name) if kind == "path" else header_text(name)
    return None if value is None else str(value).encode()
