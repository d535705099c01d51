"""The Flask application, put together from its collaborators."""

import logging
from collections.abc import Sequence

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from gateway.clients.admission import Admission
from gateway.clients.api_keys import ApiKeys
from gateway.clients.rates import RateLimiter
from gateway.exchange.breaker import Breakers
from gateway.exchange.exchange import Exchange
from gateway.exchange.idempotency import Idempotency
from gateway.exchange.requester import Requester
from gateway.health.readiness import Readiness
from gateway.lifecycle import Lifecycle
from gateway.problems import HttpProblem, Problem, Sent
from gateway.routing.table import Route
from gateway.web.auth import ClientAccess
from gateway.web.cors import Cors
from gateway.web.docs.openapi import describe
from gateway.web.docs.problem_pages import problem_pages
from gateway.web.docs.swagger_ui import api_docs
from gateway.web.fast_path import FastPath, GatewayFlask
from gateway.web.probes import probes
from gateway.web.reply_resource import LongPolls, reply_resource
from gateway.web.request import max_content_length
from gateway.web.responses import echo_request_id, problem_response
from gateway.web.routes import RouteViews
from rendezvous.correlation import CorrelationIds
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.replies import ReplyStore

logger = logging.getLogger(__name__)

#: Where Werkzeug's own words would not help: they know nothing of routes.toml.
_ADVICE = {
    404: "no such route; correct the path, or add it to routes.toml",
    405: "not with this method; use one of those in Allow",
    413: "the body is larger than MAX_BODY_BYTES allows; send less",
}


def create_app(
    *,
    routes: Sequence[Route],
    requester: Requester,
    idempotency: Idempotency,
    admission: Admission,
    breakers: Breakers,
    store: ReplyStore,
    cancellations: Cancellations,
    ids: CorrelationIds,
    readiness: Readiness,
    lifecycle: Lifecycle,
    reply_topic: str,
    reply_timeout_s: float,
    max_body_bytes: int,
    rates: RateLimiter,
    keyring: ApiKeys | None = None,
    cors_origins: Sequence[str] = (),
) -> Flask:
    """
    Return the gateway as a WSGI application.

    Args:
        routes: the HTTP routes, each with the topic that it feeds.
        requester: exchanges a request for its reply.
        idempotency: has one request published for each idempotency key.
        admission: turns requests away before they are read.
        breakers: turn away those whose responder is dead.
        store: where the status resource looks for replies.
        cancellations: where responders learn of cancelled requests.
        ids: recognises the ids that the status resource is asked for.
        readiness: the state of what a request needs.
        lifecycle: starts this process's threads with the first request, if nobody did before.
        reply_topic: the topic to which responders reply, with KAFKA_PREFIX.
        reply_timeout_s: how long a client waits, where route and client say nothing else.
        max_body_bytes: the largest request body that is forwarded.
        rates: how much each client may send.
        keyring: whose API key is which; None to ask nobody.
        cors_origins: whose web pages may call; none, or ``*`` for any.
    """
    app = GatewayFlask("gateway")
    app.config["MAX_CONTENT_LENGTH"] = max_content_length(max_body_bytes)
    app.after_request(echo_request_id)  # registered first, called last
    Cors(cors_origins, routes).install(app)
    callers = ClientAccess(keyring, admission, rates)
    callers.register(app)
    exchange = Exchange(requester, idempotency, breakers)
    views = RouteViews(exchange, callers, reply_topic, reply_timeout_s, max_body_bytes)
    for number, route in enumerate(routes, start=1):
        app.add_url_rule(
            route.path,
            endpoint=f"route-{number}",
            view_func=views.view(route),
            methods=list(route.methods),
        )
    polls = LongPolls(requester, admission, lambda: lifecycle.finishing())
    app.register_blueprint(reply_resource(ids, store, cancellations, polls))
    app.register_blueprint(probes(readiness, lambda: requester.node))
    app.register_blueprint(problem_pages())
    description = describe(
        routes,
        reply_timeout_status=requester.reply_timeout_status,
        needs_key=keyring is not None,
    )
    app.register_blueprint(api_docs(description))
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(Exception, _our_fault)
    fast_path = FastPath(app, lifecycle, views, routes, max_body_bytes)
    app.wsgi_app = fast_path  # type: ignore[method-assign]
    return app


def _http_problem(error: HTTPException) -> Response:
    """Answer what HTTP itself forbids, keeping headers such as Allow."""
    headers = {k: v for k, v in error.get_headers() if k.lower() != "content-type"}
    status, title = error.code or 500, error.name
    ours = error.description != type(error).description
    advice = error.description if ours else _ADVICE.get(status, error.description)
    detail = f"{request.method} {request.path}: {advice}"
    return problem_response(HttpProblem(status, title, detail, headers, Sent.NO))


def _our_fault(error: Exception) -> Response:
    logger.exception("%s %s failed", request.method, request.path, exc_info=error)
    detail = "the gateway failed; its log has the cause"
    return problem_response(HttpProblem(500, "Internal Server Error", detail, {}))
