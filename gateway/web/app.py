"""Builds the Flask application from its collaborators."""

import logging
from collections.abc import Sequence

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from gateway.clients.admission import Admission
from gateway.clients.credentials import Credentials
from gateway.clients.rates import RateLimiter
from gateway.clients.request_facts import ROUTE_ENVIRON_KEY
from gateway.exchange.exchange import Exchange
from gateway.exchange.requester import Requester
from gateway.health.readiness import Readiness
from gateway.lifecycle import Lifecycle
from gateway.live.figures import LiveFigures
from gateway.live.recent_problems import RecentProblems
from gateway.problems import HttpProblem, Problem, Sent
from gateway.routing.table import Route, caller_headers_of
from gateway.web.auth import ClientAccess
from gateway.web.cors import Cors
from gateway.web.docs.openapi import describe
from gateway.web.docs.swagger_ui import api_docs
from gateway.web.pages.live import ROUTE_ENDPOINT, live_page, note_problem
from gateway.web.pages.problem_pages import problem_pages
from gateway.web.pages.welcome import welcome_page
from gateway.web.probes import probes
from gateway.web.reply_resource import LongPolls, no_replies, reply_resource
from gateway.web.request import max_content_length
from gateway.web.responses import KEEPS_REPLIES, echo_request_id, forbid_sniffing, problem_response
from gateway.web.routes import RouteSlots, RouteViews
from rendezvous.correlation import CorrelationIds
from rendezvous.redis_store.cancellations import Cancellations
from rendezvous.redis_store.replies import ReplyStore

logger = logging.getLogger(__name__)

#: Details that replace Werkzeug's descriptions, which do not mention the gateway's settings.
_DETAILS = {
    404: "no such route; correct the path, or add it to routes.toml",
    405: "the method is not allowed; use one of those in Allow",
    413: "the body exceeds MAX_BODY_BYTES; send less",
}


def create_app(
    *,
    routes: Sequence[Route],
    exchange: Exchange,
    requester: Requester,
    admission: Admission,
    store: ReplyStore | None,
    cancellations: Cancellations | None,
    ids: CorrelationIds,
    readiness: Readiness,
    lifecycle: Lifecycle,
    reply_topic: str,
    reply_timeout_s: float,
    max_body_bytes: int,
    rates: RateLimiter,
    credentials: Credentials | None = None,
    cors_origins: Sequence[str] = (),
    live: LiveFigures | None = None,
) -> Flask:
    """
    Return the gateway as a WSGI application.

    Args:
        store: None without Redis, as *cancellations*; then no reply is kept.
        lifecycle: started with the first request, unless it is running.
        reply_topic: the topic that responders reply to, with KAFKA_PREFIX.
        reply_timeout_s: how long a client waits if neither route nor client sets it.
        max_body_bytes: the largest request body that is forwarded.
        credentials: of the clients; None if requests need no API key and no token.
        cors_origins: origins whose web pages may use the gateway; ``*`` for any.
        live: the figures of the live page; None for no page.
    """
    app = Flask("gateway", static_folder=None)
    app.before_request(lifecycle.ensure_started)
    app.before_request(_note_route)
    app.config["MAX_CONTENT_LENGTH"] = max_content_length(max_body_bytes)
    app.config[KEEPS_REPLIES] = store is not None
    app.after_request(echo_request_id)  # registered first, called last
    app.after_request(forbid_sniffing)
    Cors(cors_origins, routes).install(app)
    numbered = enumerate(routes, start=1)
    by_endpoint = {f"{ROUTE_ENDPOINT}{number}": route for number, route in numbered}
    access = ClientAccess(credentials, admission, rates, by_endpoint)
    access.register(app)
    views = RouteViews(
        exchange, access, reply_topic, reply_timeout_s, max_body_bytes, store is not None
    )
    for endpoint, route in by_endpoint.items():
        app.add_url_rule(
            route.path,
            endpoint=endpoint,
            view_func=views.view(route),
            methods=list(route.methods),
        )
    lifecycle.slot_rules = RouteSlots(
        admission, app.url_map, by_endpoint, reply_timeout_s, access.client_with
    )
    if store is None or cancellations is None:
        app.register_blueprint(no_replies())
    else:
        polls = LongPolls(requester, admission, lambda: lifecycle.finishing())
        caller_headers = caller_headers_of(routes)
        app.register_blueprint(reply_resource(ids, store, cancellations, polls, caller_headers))
    app.register_blueprint(probes(readiness, lambda: requester.node, access.may_see_details))
    app.register_blueprint(problem_pages())
    description = describe(
        routes,
        reply_timeout_status=requester.reply_timeout_status,
        takes_keys=credentials is not None and credentials.api_keys is not None,
        takes_tokens=credentials is not None and credentials.tokens is not None,
        keeps_replies=store is not None,
    )
    app.register_blueprint(api_docs(description))
    has_welcome_page = not any(route.path == "/" for route in routes)
    if has_welcome_page:
        app.register_blueprint(
            welcome_page(has_live_page=live is not None, shows_version=credentials is None)
        )
    if live is not None:
        app.register_blueprint(live_page(live, access.require_admin))
    _register_error_handlers(app, None if live is None else live.recent)
    return app


def _note_route() -> None:
    """Tell the server which route it is, which counts its responses."""
    rule = request.url_rule
    if rule is not None:
        request.environ[ROUTE_ENVIRON_KEY] = rule.rule


def _register_error_handlers(app: Flask, recent: RecentProblems | None) -> None:
    def answer(problem: Problem) -> Response:
        if recent is not None:
            note_problem(recent, problem)
        return problem_response(problem)

    app.register_error_handler(Problem, answer)
    app.register_error_handler(HTTPException, lambda error: answer(_http_problem(error)))
    app.register_error_handler(Exception, lambda error: answer(_internal_error(error)))


def _http_problem(error: HTTPException) -> Problem:
    """Return an error that HTTP defines, with its headers, such as Allow."""
    headers = {k: v for k, v in error.get_headers() if k.lower() != "content-type"}
    status, title = error.code or 500, error.name
    is_default = error.description == type(error).description
    detail = _DETAILS.get(status, error.description) if is_default else error.description
    detail = f"{request.method} {request.path}: {detail}"
    return HttpProblem(status, title, detail, headers, Sent.NO)


def _internal_error(error: Exception) -> Problem:
    logger.exception("%s %r failed", request.method, request.path, exc_info=error)
    detail = "the gateway failed; its log has the cause"
    return HttpProblem(500, "Internal Server Error", detail, {})
