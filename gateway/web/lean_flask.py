"""Flask without what it would look for in each request and never find."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from flask import Flask, Response, request_finished, request_started
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter
from werkzeug.sansio.utils import get_host

from gateway.lifecycle import Lifecycle
from gateway.web.fast_path import Lane
from gateway.web.responses import echo_request_id
from gateway.web.routes import OUTCOME

#: So many names by which clients know us are kept.
MAX_HOSTS = 256


class _NoSessions(SessionInterface):
    """No cookie is looked for, and none is set."""

    def open_session(self, app: Flask, request: Any) -> NullSession:
        """Return what fails when somebody uses it after all."""
        return _NO_SESSION

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Do nothing."""


_NO_SESSION = NullSession()


class LeanFlask(Flask):
    """
    A Flask application, some of whose requests go straight to their route.

    Args:
        name: the name of its package.
        lifecycle: started with the first request, if nobody did before.
    """

    session_interface = _NoSessions()

    def __init__(self, name: str, lifecycle: Lifecycle) -> None:
        # No static folder: the gateway answers the routes of routes.toml and its own, nothing else.
        super().__init__(name, static_folder=None)
        self._lifecycle = lifecycle
        #: By method and path as WSGI spells them.
        self.lanes: Mapping[tuple[str, str], Lane] = {}
        # The same few over and over: checked and spelt once, not once for each request.
        self._server_name = lru_cache(maxsize=MAX_HOSTS)(self._find_server_name)

    def wsgi_app(self, environ: Any, start_response: Any) -> Any:
        """Answer a request: straight if it can be, and else as Flask does."""
        self._lifecycle.ensure_started()
        lane = self.lanes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if lane is None or not lane.takes(environ) or self._is_watched() or self._is_odd(environ):
            return super().wsgi_app(environ, start_response)
        try:
            answered = lane.exchange(environ)
            plain = lane.plain(answered, environ)
        except Exception as error:  # noqa: BLE001  # Flask's way has the words for it
            environ[OUTCOME] = error
            return super().wsgi_app(environ, start_response)
        if plain is None:
            environ[OUTCOME] = answered
            return super().wsgi_app(environ, start_response)
        status, headers, body = plain
        start_response(status, headers)
        return [body]

    def process_response(self, response: Response) -> Response:
        """Return *response* with what every response has."""
        return echo_request_id(super().process_response(response))

    def _is_watched(self) -> bool:
        """Say whether anybody wants to see requests or responses on Flask's way, such as keys."""
        return bool(
            self.before_request_funcs.get(None)
            or self.after_request_funcs.get(None)
            or self.teardown_request_funcs.get(None)
            or self.teardown_appcontext_funcs
            or self.url_value_preprocessors.get(None)
            or request_started.receivers
            or request_finished.receivers
        )

    def _is_odd(self, environ: Any) -> bool:
        """Say whether the request is for no host, or for none that there can be."""
        try:
            self._server_name(environ["wsgi.url_scheme"], environ["HTTP_HOST"], None)
        except (HTTPException, KeyError):
            return True
        return False

    def create_url_adapter(self, request: Any) -> MapAdapter | None:
        """Return what finds the rule for *request*; BadHost when it is for no host at all."""
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

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return *func* as it is: no view is a coroutine."""
        return func
