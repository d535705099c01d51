"""API-key authentication and authorization, callers, limits, and rate-limit headers."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from flask import Flask, Response, g, request

from gateway.clients.admission import Admission, Queueing, Slot
from gateway.clients.api_keys import ApiKeys
from gateway.clients.client import ANONYMOUS, CLIENT_ENVIRON_KEY, Client
from gateway.clients.rates import RateLimiter
from gateway.problems import CallerUnknown, Forbidden, Sent, Unauthorized
from gateway.web.request import Environ, environ_key

#: Blueprints that need no API key.
_OPEN_BLUEPRINTS = frozenset({"docs", "probes", "problems"})
#: The blueprint whose requests take no slot but count towards the rate limit.
_REPLIES = "replies"
#: RFC 6750. gunicorn joins several headers with a comma, which no key contains.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)


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
    Identifies clients by API key, and applies their permissions and limits.

    Args:
        api_keys: the API keys; None if requests need no key.
    """

    def __init__(self, api_keys: ApiKeys | None, admission: Admission, rates: RateLimiter) -> None:
        self._api_keys = api_keys
        self._admission = admission
        self._rates = rates

    def register(self, app: Flask) -> None:
        """Install the hooks in *app*, if requests need a key."""
        if self._api_keys is not None:
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
        """Return the client with this Authorization header; None if its API key is not valid."""
        return ANONYMOUS if self._api_keys is None else _client_of(self._api_keys, authorization)

    def may_see_details(self) -> bool:
        """Return whether the current request has a valid API key, or none is needed."""
        authorization = request.headers.get("Authorization")
        return self._api_keys is None or has_valid_key(self._api_keys, authorization)

    def _identify(self) -> None:
        if self._api_keys is None or not _needs_key():
            return
        is_exchange = request.blueprint != _REPLIES
        sent = Sent.NO if is_exchange else None
        client = g.client = _authenticate(self._api_keys, sent)
        request.environ[CLIENT_ENVIRON_KEY] = client.name
        if not is_exchange:
            self.charge(sent)
        elif request.url_rule is not None and not client.may_use(request.url_rule.rule):
            raise Forbidden(
                f"client {client.name!r} may not use {request.url_rule.rule}; "
                "ask the operator of this gateway to allow it",
                sent=sent,
            )


def has_valid_key(api_keys: ApiKeys, authorization: str | None) -> bool:
    """Return whether *authorization*, the header's value, has the API key of a client."""
    return _client_of(api_keys, authorization) is not None


def _client_of(api_keys: ApiKeys, authorization: str | None) -> Client | None:
    key = _BEARER.fullmatch((authorization or "").strip(" \t"))
    return None if key is None else api_keys.client_of(key[1])


def _authenticate(api_keys: ApiKeys, sent: Sent | None) -> Client:
    """Return the client whose API key the current request has."""
    values = request.headers.getlist("Authorization")
    if not values:
        detail = 'the request has no API key; send it as "Authorization: Bearer <key>"'
        raise Unauthorized(detail, key_given=False, sent=sent)
    key = _BEARER.fullmatch(values[0].strip(" \t"))
    if key is None:
        detail = 'the Authorization header is not one "Bearer <key>"; send exactly that'
        raise Unauthorized(detail, key_given=True, sent=sent)
    client = api_keys.client_of(key[1])
    if client is None:
        detail = "the API key is unknown; ask the operator of this gateway for a valid one"
        raise Unauthorized(detail, key_given=True, sent=sent)
    return client


def _needs_key() -> bool:
    """Return whether the current request needs an API key."""
    # Errors such as 404, and preflight requests, need none.
    if request.url_rule is None or request.method == "OPTIONS":
        return False
    return request.blueprint not in _OPEN_BLUEPRINTS


def _add_rate_limit_headers(response: Response) -> Response:
    quota = g.get("quota")
    if quota is not None:
        response.headers.extend(quota.headers())
    return response
