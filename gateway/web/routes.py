"""HTTP to request, reply to HTTP, over the routes of routes.toml. Knows no Kafka and no Redis."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from flask import Response, request

from gateway.clients.client import Client
from gateway.exchange.breaker import Breakers
from gateway.exchange.cancellation import is_cancellation
from gateway.exchange.idempotency import Answer, Idempotency
from gateway.exchange.idempotency_key import KEY_HEADER, REPLAYED_HEADER, claim_name, key_of
from gateway.exchange.requester import Requester, Terms, Ticket
from gateway.problems import InvalidBody, ReplyTimeout, Sent
from gateway.routing.table import Route
from gateway.web.auth import ClientAccess, current_client
from gateway.web.prefer import Preferences
from gateway.web.request import (
    BodyLimit,
    Environ,
    as_text,
    environ_key,
    header_text,
    read_body,
)
from gateway.web.responses import pending_response, reply_response
from gateway.web.trace import REQUEST_ID, request_id_of, trace_headers
from rendezvous.contract import Reply, Request

_PREFER, _KEY = map(environ_key, ("Prefer", KEY_HEADER))

#: WSGI environment key: the ExchangeResult of a request that was exchanged before,
#: or the exception it ended in.
OUTCOME = "rendezvous.outcome"


@dataclass(frozen=True, slots=True)
class ExchangeResult:
    """What a request has led to, and the headers that it puts beside those of the reply."""

    answer: Answer
    headers: tuple[tuple[str, str], ...] = ()


#: Takes a request: its WSGI environment, its path, who calls, and the parameters in the path.
Handler = Callable[[Environ, str, Client, Mapping[str, object]], ExchangeResult]


class RouteViews:
    """
    The views of the routes in routes.toml.

    Args:
        requester: exchanges a request for its reply.
        idempotency: has one request published for each idempotency key.
        callers: turn requests away before they are read.
        breakers: turn away those whose responder is dead.
        reply_topic: where responders reply to.
        reply_timeout_s: how long a client waits, where route and client say nothing else.
        max_body_bytes: the largest body that is forwarded.
    """

    def __init__(
        self,
        requester: Requester,
        idempotency: Idempotency,
        callers: ClientAccess,
        breakers: Breakers,
        reply_topic: str,
        reply_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self._requester = requester
        self._idempotency = idempotency
        self._callers = callers
        self._breakers = breakers
        self._reply_topic = reply_topic
        self._reply_timeout_s = reply_timeout_s
        self._max_body_bytes = max_body_bytes

    def view(self, route: Route) -> Callable[..., Response]:
        """Return Flask's view of *route*, for requests whose outcome may be known already."""
        handle = self.handler(route)

        def exchange(**parameters: object) -> Response:
            environ = request.environ
            outcome: ExchangeResult | Exception | None = environ.pop(OUTCOME, None)
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is None:
                outcome = handle(environ, request.path, current_client(), parameters)
            return _response(route, outcome)

        return exchange

    def handler(self, route: Route) -> Handler:
        """Return what exchanges a request to *route* for its answer; it raises Problem."""
        allowed = [(name.lower(), environ_key(name)) for name in route.headers]

        def handle(
            environ: Environ, path: str, client: Client, parameters: Mapping[str, object]
        ) -> ExchangeResult:
            with self._callers.admit(client):
                if client.rate is not None:
                    # Not before: whoever waits for Redis here must not take the threads of the
                    # probes.
                    self._callers.charge(Sent.NO)
                body = self._body(route, environ)
                preferences = Preferences.parse(_lines(environ, _PREFER))
                key = key_of(_lines(environ, _KEY), required=route.idempotency == "required")
                terms = self._terms(route, preferences, key, client)
                ticket = self._requester.issue(terms)
                headers = [(name, as_text(environ[at])) for name, at in allowed if at in environ]
                query: str = environ.get("QUERY_STRING", "")
                new_request = Request(
                    correlation_id=ticket.correlation_id,
                    topic=route.topic,
                    reply_topic=self._reply_topic,
                    deadline_ms=ticket.deadline_ms,
                    body=body,
                    content_type=header_text(environ, "CONTENT_TYPE"),
                    method=environ["REQUEST_METHOD"],
                    path=path,
                    query=query.encode("latin-1").decode("utf-8", "replace"),
                    headers=(*headers, *_trace_headers(environ)),
                    key=_record_key(route, parameters, environ),
                )
                try:
                    answer = self._answer(route, key, ticket, new_request)
                except ReplyTimeout as problem:
                    problem.headers |= _applied(preferences, terms, is_pending=False)
                    raise
            applied = _applied(preferences, terms, is_pending=answer.reply is None)
            if answer.is_replayed:
                applied = {REPLAYED_HEADER: "true"} | applied
            return ExchangeResult(answer, tuple(applied.items()))

        return handle

    def _body(self, route: Route, environ: Environ) -> bytes:
        body = read_body(environ, BodyLimit.of(route, self._max_body_bytes))
        faults = [] if route.schema is None else route.schema.faults(body)
        if faults:
            raise InvalidBody(
                f"the body does not fit the schema of {route.path}: see faults", faults
            )
        return body

    def _terms(
        self, route: Route, preferences: Preferences, key: str | None, client: Client
    ) -> Terms:
        usual_s = route.reply_timeout_s(self._reply_timeout_s)
        longest_s = route.max_reply_timeout_s(self._reply_timeout_s)
        wait_s = preferences.wait_within_s(usual_s, longest_s)
        # Who does not wait leaves the responder as much time as it can have.
        deadline_s = longest_s if preferences.respond_async else wait_s
        keep_s = 0 if key is None else self._idempotency.ttl_s
        return Terms(wait_s, deadline_s, preferences.respond_async, client.name, keep_s)

    def _answer(
        self, route: Route, key: str | None, ticket: Ticket, new_request: Request
    ) -> Answer:
        publish = partial(self._exchange, route, ticket, new_request)
        if key is None:
            return Answer(ticket.correlation_id, publish())
        name = claim_name(ticket.terms.owner, key)
        return self._idempotency.answer(name, ticket, new_request, publish)

    def _exchange(self, route: Route, ticket: Ticket, new_request: Request) -> Reply | None:
        with self._breakers.admit(route.topic) as passage:
            passage.hurried = ticket.terms.wait_s < route.reply_timeout_s(self._reply_timeout_s)
            reply = self._requester.exchange(ticket, new_request)
            passage.pending = reply is None or is_cancellation(reply)
            return reply


def _response(route: Route, answered: ExchangeResult) -> Response:
    reply = answered.answer.reply
    if reply is None:
        response = pending_response(answered.answer.correlation_id)
    else:
        response = reply_response(reply, route.response_headers)
    response.headers.extend(answered.headers)
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
    theirs = request_id_of(environ)
    return found if theirs is None else [*found, (REQUEST_ID.lower(), theirs)]


def _record_key(route: Route, parameters: Mapping[str, object], environ: Environ) -> bytes | None:
    if route.key is None:
        return None
    kind, _, name = route.key.partition(":")
    value = parameters.get(name) if kind == "path" else header_text(environ, environ_key(name))
    return None if value is None else str(value).encode()
