"""
Fast path: answers plain requests without Flask's contexts, hooks and responses.

Those take longer than the exchange itself. A request takes the fast path if its method and path
name a route without parameters, its body has a known size within the limit, and nothing hooks into
the application. It leaves the fast path with its outcome in the WSGI environment if the reply is
not a plain response, so that errors and special statuses are rendered in one place.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from flask import Flask, request_finished, request_started
from werkzeug.routing import MapAdapter
from werkzeug.sansio.utils import get_host

from gateway.clients.client import ANONYMOUS
from gateway.lifecycle import Lifecycle
from gateway.routing.table import Route
from gateway.web.request import BodyLimit, Environ
from gateway.web.responses import (
    echo_request_id,
    is_plain,
    reply_headers,
    status_line,
    with_request_id,
)
from gateway.web.routes import OUTCOME, RouteResult, RouteViews

#: Hosts that need no validation by Werkzeug; others go through Flask.
_PLAIN_HOST = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63})*(?::[0-9]{1,5})?", re.ASCII)

#: Maximum number of Host values whose server name is cached.
MAX_HOSTS = 256

#: Status line without the version, headers, body.
PlainResponse = tuple[str, list[tuple[str, str]], bytes]


class FastPath:
    """
    WSGI middleware in front of Flask.

    Args:
        lifecycle: started with the first request, unless it is running.
        max_body_bytes: the gateway's body limit.
    """

    def __init__(
        self,
        app: Flask,
        lifecycle: Lifecycle,
        views: RouteViews,
        routes: Iterable[Route],
        max_body_bytes: int,
    ) -> None:
        self._app = app
        self._through_flask = app.wsgi_app
        self._lifecycle = lifecycle
        self._routes = {
            (method, route.path): FastRoute(views, route, BodyLimit.of(route, max_body_bytes))
            for route in routes
            # PATH_INFO equals the path only if that is ASCII.
            if "<" not in route.path and route.path.isascii()
            for method in route.methods
        }

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Answer a request as a WSGI application."""
        self._lifecycle.ensure_started()
        route = self._routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if route is None or not route.admits(environ) or self._has_hooks():
            return self._through_flask(environ, start_response)
        try:
            result = route.exchange(environ)
            response = route.plain_response(result, environ)
        except Exception as error:  # noqa: BLE001  # Flask's error handlers render it
            environ[OUTCOME] = error
            return self._through_flask(environ, start_response)
        if response is None:
            environ[OUTCOME] = result
            return self._through_flask(environ, start_response)
        status, headers, body = response
        start_response(status, headers)
        return [body]

    def _has_hooks(self) -> bool:
        """Return whether Flask has hooks to run, such as for API keys."""
        app = self._app
        return bool(
            app.before_request_funcs.get(None)
            or app.after_request_funcs.get(None) != [echo_request_id]
            or app.teardown_request_funcs.get(None)
            or app.teardown_appcontext_funcs
            or app.url_value_preprocessors.get(None)
            or request_started.receivers
            or request_finished.receivers
        )


class FastRoute:
    """The fast path of one route, which has no path parameters."""

    def __init__(self, views: RouteViews, route: Route, limit: BodyLimit) -> None:
        self._handle = views.handler(route)
        self._path = route.path
        self._response_headers = route.response_headers
        self._limit = limit

    def admits(self, environ: Environ) -> bool:
        """Return whether the head of the request is plain."""
        return self._limit.admits(environ) and bool(
            _PLAIN_HOST.fullmatch(environ.get("HTTP_HOST", ""))
        )

    def exchange(self, environ: Environ) -> RouteResult:
        """Exchange the request for its reply; raise Problem if there is none."""
        return self._handle(environ, self._path, ANONYMOUS, {})

    def plain_response(self, result: RouteResult, environ: Environ) -> PlainResponse | None:
        """Return the response to a request; None if Flask has to render it."""
        reply = result.reply
        if reply is None:
            return None
        headers = [*reply_headers(reply, self._response_headers), *result.headers]
        if not is_plain(reply.status, headers):
            return None
        return status_line(reply.status), with_request_id(headers, environ), reply.body


class GatewayFlask(Flask):
    """Flask with cached validation of Host: 10 us less per request."""

    def __init__(self, import_name: str) -> None:
        super().__init__(import_name, static_folder=None)
        self._server_name = lru_cache(maxsize=MAX_HOSTS)(self._find_server_name)

    def create_url_adapter(self, request: Any) -> MapAdapter | None:
        """Return what finds the rule for *request*; raises BadHost."""
        if request is None:
            return None
        host = request.environ.get("HTTP_HOST")
        return MapAdapter(
            self.url_map,
            self._server_name(request.scheme, host, request.server),
            script_name=request.root_path,
            subdomain="",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
            query_args=request.query_string.decode("utf-8", "replace"),
        )

    def _find_server_name(
        self, scheme: str, host: str | None, server: tuple[str, int | None] | None
    ) -> str:
        return self.url_map.bind(get_host(scheme, host, server)).server_name
