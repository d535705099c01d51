"""
The straight way of the usual request to a route: past Flask's contexts, hooks and responses.

They cost more than all of the exchange, and a request whose path and method name its route, whose
client needs no key, and whose reply is a plain response has no use for them. Whatever is not plain
takes Flask's way: before it is published, or with its outcome along, so that each ending but the
plain one is put into words in one place.
"""

from collections.abc import Iterable
from typing import Any

from werkzeug.http import HTTP_STATUS_CODES

from gateway.clients.client import ANONYMOUS
from gateway.routing.table import Route
from gateway.web.body import size_of
from gateway.web.request import Environ
from gateway.web.responses import reply_headers, with_request_id
from gateway.web.routes import ExchangeResult, RouteViews
from rendezvous.contract import Reply

#: Responses without a body, or whose body has no type: HTTP has rules of its own for them.
_BODILESS = (204, 304)

#: Status line without the version, header lines, body.
Plain = tuple[str, list[tuple[str, str]], bytes]


class Lane:
    """
    The straight way to one route.

    Args:
        exchange: exchanges the request for its reply.
        route: whose path has no parameters.
        max_body_bytes: the largest body that the route takes.
    """

    def __init__(self, exchange: RouteViews, route: Route, max_body_bytes: int) -> None:
        self._handle = exchange.handler(route)
        self._path = route.path
        self._listed = route.response_headers
        self._max_body_bytes = max_body_bytes

    def takes(self, environ: Environ) -> bool:
        """Say whether the request is as usual, as far as its head tells."""
        size = size_of(environ)
        return size is not None and size <= self._max_body_bytes

    def exchange(self, environ: Environ) -> ExchangeResult:
        """
        RouteViews the request for its answer.

        Raises:
            Problem: the unhappy ending.
        """
        return self._handle(environ, self._path, ANONYMOUS, {})

    def plain(self, answered: ExchangeResult, environ: Environ) -> Plain | None:
        """Return the response when it is a plain one."""
        reply = answered.answer.reply
        if reply is None or reply.status in _BODILESS or _names_a_place(reply):
            return None
        headers = [*reply_headers(reply, self._listed), *answered.headers]
        return _status(reply.status), with_request_id(headers, environ), reply.body


def lanes(
    exchange: RouteViews, routes: Iterable[Route], max_body_bytes: int
) -> dict[tuple[str, Any], Lane]:
    """Return a lane for each method and path, as WSGI spells it, that names one of *routes*."""
    return {
        (method, route.path): Lane(exchange, route, _limit_bytes(route, max_body_bytes))
        for route in routes
        # WSGI spells only ASCII as it is.
        if "<" not in route.path and route.path.isascii()
        for method in route.methods
        if method not in ("HEAD", "OPTIONS")
    }


def _limit_bytes(route: Route, max_body_bytes: int) -> int:
    return max_body_bytes if route.max_body_bytes is None else route.max_body_bytes


def _names_a_place(reply: Reply) -> bool:
    # Werkzeug makes the URL what it should be.
    return any(name.lower() == "location" for name, _ in reply.headers)


def _status(code: int) -> str:
    """Return the words of Werkzeug for *code*."""
    return f"{code} {HTTP_STATUS_CODES.get(code, 'Unknown').upper()}"
