"""Authentication and authorization, callers, limits, and rate-limit headers."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from flask import Flask, Response, g, request

from gateway.clients.admission import BODY_UNREAD_ENVIRON_KEY, Admission, Queueing, Slot
from gateway.clients.client import ANONYMOUS, CLIENT_ENVIRON_KEY, Client
from gateway.clients.credentials import Credentials
from gateway.clients.rates import RateLimiter
from gateway.problems import (
    CallerUnknown,
    Forbidden,
    InsufficientScope,
    Sent,
    TokenKeysUnavailable,
    Unauthorized,
)
from gateway.routing.table import Route
from gateway.web.request import Environ, environ_key

#: Blueprints that need no credential.
_OPEN_BLUEPRINTS = frozenset({"docs", "probes", "problems", "live", "welcome"})
#: The blueprint whose requests take no slot but count towards the rate limit.
_REPLIES = "replies"
#: Maximum length of the header that names the caller, in characters.
MAX_CALLER_LENGTH = 255


def current_client() -> Client:
    """Return the client of the current request."""
    client: Client = g.get("client", ANONYMOUS)
    return client


def with_caller(client: Client, header: str, environ: Environ) -> Client:
    """
    Return *client* with the caller that the request's *header* names.

    Raises:
        CallerUnknown: when there is no such header, or it is malformed.
    """
    value = environ.get(environ_key(header), "")
    try:
        # Only UTF-8, so that two callers are never one.
        caller = value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        caller = ""
    if not caller.isprintable() or not 1 <= len(caller) <= MAX_CALLER_LENGTH:
        raise CallerUnknown(
            f"the header {header}, which names the caller, is "
            f"{'malformed' if value else 'missing'}; send 1 to {MAX_CALLER_LENGTH} printable "
            "characters in UTF-8",
            sent=Sent.NO,
        )
    return replace(client, caller=f"{header.lower()}={caller}")


def owners(client: Client, headers: Iterable[str], environ: Environ) -> list[str]:
    """Return *client* as an owner of replies, with each caller that the *headers* name."""
    found = [client.owner]
    for header in headers:
        with suppress(CallerUnknown):
            found.append(with_caller(client, header, environ).owner)
    return found


class ClientAccess:
    """
    Identifies clients by their credentials, and applies their permissions and limits.

    Args:
        credentials: None if requests need no API key and no token.
        routes: by endpoint; they may require scopes.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        admission: Admission,
        rates: RateLimiter,
        routes: Mapping[str, Route],
    ) -> None:
        self._credentials = credentials
        self._admission = admission
        self._rates = rates
        self._routes = routes

    def register(self, app: Flask) -> None:
        """Install the hooks in *app*, if requests need a credential."""
        if self._credentials is not None:
            app.before_request(self._identify)
            app.after_request(_add_rate_limit_headers)

    def admit(self, client: Client, queueing: Queueing) -> Slot:
        """Return a context manager that holds one slot for *client*; see Admission.admit()."""
        return self._admission.admit(client, queueing)

    def charge(self, sent: Sent | None) -> None:
        """
        Count the current request towards the rate limit of its client.

        Raises:
            Problem: the rate limit is reached, or Redis does not respond.
        """
        g.quota = self._rates.charge(current_client(), sent)

    def client_with(self, authorization: str | None) -> Client | None:
        """Return the client with this Authorization header; None if it is not known now."""
        return (
            ANONYMOUS if self._credentials is None else self._credentials.client_of(authorization)
        )

    def may_see_details(self) -> bool:
        """Return whether the current request has a valid credential, or none is needed."""
        return self.client_with(request.headers.get("Authorization")) is not None

    def require_admin(self) -> None:
        """
        Return if the current request has the API key of a client with ``admin = true``.

        The key is the password of HTTP Basic, which browsers ask for and send, or a bearer token.

        Raises:
            Unauthorized: without such a key; a browser asks for one.
        """
        if self._credentials is None:
            return
        try:
            given = request.authorization
        except ValueError:  # characters that base64 does not have
            given = None
        if given is None:
            raise _admin_needed("this page needs the API key of a client with admin = true")
        key = {"basic": given.password, "bearer": given.token}.get(given.type)
        api_keys = self._credentials.api_keys
        client = None
        if api_keys is not None and key and key.isascii():
            client = api_keys.client_of(key)
        if client is None:
            raise _admin_needed("the API key is unknown")
        if not client.is_admin:
            raise _admin_needed(f"client {client.name!r} is no admin")

    def _identify(self) -> None:
        if self._credentials is None or not _needs_credential():
            return
        is_exchange = request.blueprint != _REPLIES
        sent = Sent.NO if is_exchange else None
        authorization = request.environ.get("HTTP_AUTHORIZATION")
        client = g.client = self._credentials.authenticate(authorization, sent)
        request.environ[CLIENT_ENVIRON_KEY] = client.name
        if request.environ.get(BODY_UNREAD_ENVIRON_KEY):
            # When its head came, its key was not known yet.
            detail = "the issuer's keys have changed meanwhile; send again"
            raise TokenKeysUnavailable(detail, sent=sent)
        if not is_exchange:
            self.charge(sent)
        else:
            self._check_permission(client, sent)

    def _check_permission(self, client: Client, sent: Sent | None) -> None:
        """Raise Problem when *client* may not use the route of the current request."""
        route = self._routes.get(request.endpoint or "")
        if route is None:
            return
        if not client.may_use(route.path):
            raise Forbidden(
                f"client {client.name!r} may not use {route.path}; "
                "ask the operator of this gateway to allow it",
                sent=sent,
            )
        if missing := client.lacks(route.scopes):
            raise InsufficientScope(
                f"{route.path} requires the scopes {' '.join(route.scopes)}; client "
                f"{client.name!r} lacks {' '.join(missing)}",
                route.scopes,
                sent,
            )


def _admin_needed(reason: str) -> Unauthorized:
    problem = Unauthorized(
        f"{reason}; give the key as password, with any user name, or ask the operator of this "
        "gateway to set admin = true for its client",
        key_given=False,
    )
    # A browser sends a key by HTTP Basic only.
    problem.headers["WWW-Authenticate"] = 'Basic realm="rendezvous", charset="UTF-8"'
    return problem


def _needs_credential() -> bool:
    """Return whether the current request needs an API key or a token."""
    # Errors such as 404, and preflight requests, need none.
    if request.url_rule is None or request.method == "OPTIONS":
        return False
    return request.blueprint not in _OPEN_BLUEPRINTS


def _add_rate_limit_headers(response: Response) -> Response:
    quota = g.get("quota")
    if quota is not None:
        response.headers.extend(quota.headers())
    return response
