"""The views of routes.toml: from HTTP request to HTTP response."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from flask import Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map

from gateway import metrics
from gateway.clients.admission import Admission, Queueing, SlotWait
from gateway.clients.client import Client
from gateway.clients.request_facts import TOPIC_ENVIRON_KEY
from gateway.exchange.exchange import Exchange
from gateway.exchange.idempotency import KEY_HEADER, REPLAYED_HEADER, key_of
from gateway.exchange.pending_request import WaitOptions
from gateway.problems import DOCUMENTED, Problem, ReplyTimeout, Sent
from gateway.routing.table import Route
from gateway.routing.validation import is_own_path
from gateway.web.auth import ClientAccess, current_client, with_caller
from gateway.web.prefer import Preferences
from gateway.web.record import BODILESS, RouteRecords
from gateway.web.request import Environ, environ_key, utf8_text
from gateway.web.responses import accepted_response, for_caches, pending_response, reply_response
from rendezvous.contract import Reply, Request

_PREFER, _KEY = map(environ_key, ("Prefer", KEY_HEADER))


@dataclass(frozen=True, slots=True)
class RouteResult:
    """The result of a request to a route."""

    correlation_id: str
    reply: Reply | None  # None when the response is a 202
    headers: tuple[tuple[str, str], ...] = ()  # added to those of the reply
    owner: str = ""  # the client and caller, if known


#: Exchanges a request: its WSGI environment, its path, its client, the parameters in the path.
Handler = Callable[[Environ, str, Client, Mapping[str, object]], RouteResult]


class RouteViews:
    """
    The views of the routes in routes.toml.

    Args:
        reply_topic: the topic that responders reply to.
        reply_timeout_s: how long a client waits if neither route nor client sets it.
        max_body_bytes: the largest body that is forwarded, if the route does not set it.
    """

    def __init__(
        self,
        exchange: Exchange,
        access: ClientAccess,
        reply_topic: str,
        reply_timeout_s: float,
        max_body_bytes: int,
        keeps_replies: bool = True,
    ) -> None:
        self._exchange = exchange
        self._access = access
        self._reply_topic = reply_topic
        self._reply_timeout_s = reply_timeout_s
        self._max_body_bytes = max_body_bytes
        self._keeps_replies = keeps_replies

    def view(self, route: Route) -> Callable[..., Response]:
        """Return the Flask view of *route*, and prepare its metrics."""
        metrics.prepare_route(route.path, route.topic, DOCUMENTED)
        handle = self.handler(route)

        def view(**parameters: object) -> Response:
            try:
                result = handle(request.environ, request.path, current_client(), parameters)
                response = _response(route, result)
            except Problem as problem:  # its response counts it
                problem.is_safe = request.method in BODILESS
                metrics.sent_of(route.topic, problem.sent or Sent.UNKNOWN).inc()
                raise
            metrics.outcomes_of(route.path, _outcome(route, result)).inc()
            metrics.sent_of(route.topic, Sent.YES).inc()
            return response

        return view

    def handler(self, route: Route) -> Handler:
        """Return what exchanges a request to *route*; it raises Problem."""
        records = RouteRecords(route, self._max_body_bytes)

        def handle(
            environ: Environ, path: str, client: Client, parameters: Mapping[str, object]
        ) -> RouteResult:
            environ[TOPIC_ENVIRON_KEY] = route.topic
            query = utf8_text(environ.get("QUERY_STRING", ""), "the query")
            utf8_text(environ["PATH_INFO"], "the path")  # *path* has U+FFFD instead
            if route.caller_header is not None:
                client = with_caller(client, route.caller_header, environ)
            queueing = Queueing.of(environ)
            with self._access.admit(client, queueing):
                if client.rate is not None:
                    # After admission: waiting for Redis must not use up the threads of the probes.
                    self._access.charge(Sent.NO)
                body, content_type = records.content(environ)
                preferences = Preferences.parse(_lines(environ, _PREFER))
                if route.reply == "none":
                    preferences = Preferences()
                if not self._keeps_replies:  # the client could not fetch the reply later
                    preferences = replace(preferences, respond_async=False)
                # A GET changes nothing, so it may run twice.
                is_get = environ["REQUEST_METHOD"] in BODILESS
                key = None if is_get else _idempotency_key(route, environ)
                options = self._wait_options(route, preferences, client, queueing.queued_s)
                correlation_id, deadline_ms = self._exchange.issue_id(options, key)
                new_request = Request(
                    correlation_id=correlation_id,
                    topic=route.topic,
                    reply_topic=self._reply_topic if options.has_reply else "",
                    deadline_ms=deadline_ms,
                    body=body,
                    content_type=content_type,
                    method="GET" if is_get else environ["REQUEST_METHOD"],
                    path=path,
                    query=query,
                    headers=tuple(records.headers(environ, parameters)),
                    key=records.key(environ, parameters),
                    client=client.name or None,
                    is_keyless=route.key == "none",
                    is_stream=options.is_stream,
                    is_for_quarkus=route.reply_partition == "quarkus",
                )
                try:
                    result = self._exchange.run(new_request, options, key)
                except ReplyTimeout as problem:
                    problem.headers |= _applied(preferences, options, is_pending=False)
                    raise
            headers = {}
            if result.is_replayed:
                headers[REPLAYED_HEADER] = "true"
                metrics.REPLAYS.labels(route.path).inc()
            headers |= _applied(preferences, options, is_pending=result.reply is None)
            return RouteResult(
                result.correlation_id, result.reply, tuple(headers.items()), client.owner
            )

        return handle

    def _wait_options(
        self, route: Route, preferences: Preferences, client: Client, queued_s: float
    ) -> WaitOptions:
        default_s = route.reply_timeout_s(self._reply_timeout_s)
        longest_s = route.max_reply_timeout_s(self._reply_timeout_s)
        wait_s = preferences.wait_within_s(default_s, longest_s)
        return WaitOptions(
            wait_s,
            # A client that does not wait gives the responder as much time as the route allows.
            longest_s if preferences.respond_async else wait_s,
            preferences.respond_async,
            owner=client.owner,
            caller=client.caller,
            is_short=wait_s < default_s,
            has_reply=route.reply != "none",
            is_stream=route.replies == "last" and route.reply != "none",
            queued_s=queued_s,
        )


class RouteSlots:
    """
    Which requests take a slot, and how they may wait for one; see SlotRules.

    Args:
        routes: each with the path and methods of its endpoint in *paths*.
        client_with: returns the client with an Authorization header; None if it is not valid.
    """

    def __init__(
        self,
        admission: Admission,
        paths: Map,
        routes: Mapping[str, Route],
        reply_timeout_s: float,
        client_with: Callable[[str | None], Client | None],
    ) -> None:
        self.admission = admission
        self._paths = paths.bind("")
        self._routes = routes
        self._reply_timeout_s = reply_timeout_s
        self._client_with = client_with

    def takes_slot(self, method: str, path: str) -> bool:
        """Return whether a request may take a slot."""
        return method != "OPTIONS" and not is_own_path(path)

    def slot_wait(self, method: str, path: str, headers: Mapping[str, str]) -> SlotWait | None:
        """Return how a request waits; None if it gets its response, an error, without a slot."""
        try:
            endpoint, _ = self._paths.match(path, method)
        except HTTPException:
            return None
        client = self._client_with(headers.get("AUTHORIZATION"))
        if client is None or endpoint not in self._routes:
            return None
        route = self._routes[endpoint]
        longest_s = route.max_reply_timeout_s(self._reply_timeout_s)
        preferences = Preferences.parse([headers.get("PREFER", "")])
        if preferences.respond_async:
            return SlotWait(client.name, longest_s)
        default_s = route.reply_timeout_s(self._reply_timeout_s)
        return SlotWait(client.name, preferences.wait_within_s(default_s, longest_s))


def _outcome(route: Route, result: RouteResult) -> str:
    if route.reply == "none":
        return "accepted"
    return "pending" if result.reply is None else "reply"


def _response(route: Route, result: RouteResult) -> Response:
    if route.reply == "none":
        response = accepted_response(result.correlation_id)
    elif result.reply is None:
        response = pending_response(result.correlation_id)
    else:
        response = reply_response(result.reply, route.response_headers, route.reply_content_type)
        if request.method in BODILESS:
            for_caches(response, is_private=bool(result.owner))
    response.headers.extend(result.headers)
    return response


def _applied(preferences: Preferences, options: WaitOptions, *, is_pending: bool) -> dict[str, str]:
    applied = preferences.applied(options.wait_s, is_pending)
    return {"Preference-Applied": applied, "Vary": "Prefer"} if applied else {}


def _lines(environ: Environ, key: str) -> list[str]:
    # WSGI joins several headers of one name with a comma.
    value = environ.get(key)
    return [] if value is None else [value]


def _idempotency_key(route: Route, environ: Environ) -> str | None:
    if route.idempotency == "off":
        return None
    return key_of(_lines(environ, _KEY), required=route.idempotency == "required")
