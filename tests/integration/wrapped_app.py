"""The stand-in behind WSGI middleware, as a user may wrap `app` in wsgi.py."""

from collections.abc import Callable, Iterable
from typing import Any

from tests.integration import standin_app

Wsgi = Callable[[Any, Any], Iterable[bytes]]


class Middleware:
    """Adds a header to every response, and hides everything else of the application."""

    def __init__(self, application: Wsgi) -> None:
        self._application = application

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("X-Middleware", "yes")], *rest)

        return self._application(environ, start)


app = Middleware(standin_app.app)
