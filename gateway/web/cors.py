"""CORS: access for web pages of other origins (Fetch standard, section 3.3)."""

from collections.abc import Iterable, Sequence

from flask import Flask, Response, current_app, request

from gateway.routing.table import Route

ANY_ORIGIN = "*"
#: Response headers that scripts may read, besides those that the standard always allows.
EXPOSED_HEADERS = (
    "ETag",
    "X-Correlation-ID",
    "X-Request-ID",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "Preference-Applied",
    "Idempotent-Replayed",
    "RateLimit",
    "RateLimit-Policy",
)
#: Request headers that scripts may send, besides those that the routes forward.
REQUEST_HEADERS = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-Modified-Since",
    "If-None-Match",
    "Prefer",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)
#: Maximum time for which browsers cache a preflight response, in seconds.
MAX_AGE_S = 600


class Cors:
    """
    Lets pages of listed origins read all responses, without cookies.

    Args:
        origins: each as a browser sends it in Origin, or ``*`` for any.
        routes: the headers that they forward may be sent.
    """

    def __init__(self, origins: Sequence[str], routes: Iterable[Route]) -> None:
        self._origins = frozenset(origins)
        listed = {header.lower(): header for header in REQUEST_HEADERS}
        for route in routes:
            for header in route.request_headers:
                listed.setdefault(header.lower(), header)
        self._request_headers = ", ".join(listed.values())

    def install(self, app: Flask) -> None:
        """Install the hooks in *app*, if there are origins."""
        if self._origins:
            app.before_request(self._preflight)
            app.after_request(self._allow)

    def _preflight(self) -> Response | None:
        """Answer a preflight request, which has no API key."""
        if (
            request.method != "OPTIONS"
            or "Access-Control-Request-Method" not in request.headers
            or request.url_rule is None
        ):
            return None
        response = Response(status=204)
        adapter = current_app.create_url_adapter(request)
        response.allow.update(adapter.allowed_methods() if adapter else ())
        if self._allowed_origin() is not None:
            response.headers["Access-Control-Allow-Methods"] = response.headers["Allow"]
            response.headers["Access-Control-Allow-Headers"] = self._request_headers
            response.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
        return response

    def _allow(self, response: Response) -> Response:
        origin = self._allowed_origin()
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
        if ANY_ORIGIN not in self._origins:
            # On all responses: a cache must not serve one without permission to a listed origin.
            response.headers.add("Vary", "Origin")
        return response

    def _allowed_origin(self) -> str | None:
        if ANY_ORIGIN in self._origins:
            return ANY_ORIGIN
        origin = request.headers.get("Origin", "")
        return origin if origin in self._origins else None
