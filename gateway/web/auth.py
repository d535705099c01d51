"""Whose request is at hand, and whether it may be: API keys, as Flask sees them."""

import re

from flask import Flask, Response, g, request

from gateway.clients.admission import Admission, Slot
from gateway.clients.api_keys import ApiKeys
from gateway.clients.client import ANONYMOUS, CLIENT_ENVIRON_KEY, Client
from gateway.clients.rates import RateLimiter
from gateway.problems import Forbidden, Sent, Unauthorized

#: The blueprints that answer everybody: platforms and newcomers have no key.
_OPEN_BLUEPRINTS = frozenset({"docs", "probes", "problems"})
#: The one whose views take no place; their requests count all the same.
_REPLIES = "replies"
#: RFC 6750. gunicorn joins several headers with a comma, which no key has.
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.ASCII | re.IGNORECASE)


def current_client() -> Client:
    """Return who calls."""
    client: Client = g.get("client", ANONYMOUS)
    return client


class ClientAccess:
    """
    Asks whoever calls for a key, and lets each have what is meant for it.

    Args:
        keyring: whose key is which; None to ask nobody.
        admission: the places of this process.
        rates: how much each may send.
    """

    def __init__(self, keyring: ApiKeys | None, admission: Admission, rates: RateLimiter) -> None:
        self._keyring = keyring
        self._admission = admission
        self._rates = rates

    def register(self, app: Flask) -> None:
        """Ask for keys in *app*, before any view runs."""
        if self._keyring is not None:
            app.before_request(self._identify)
            app.after_request(_tell_allowance)

    def admit(self, client: Client) -> Slot:
        """Return what holds one place for *client*, who calls; see Admission.admit()."""
        return self._admission.admit(client)

    def charge(self, sent: Sent | None) -> None:
        """
        Count one request of whoever calls.

        Raises:
            Problem: when the rate is used up.
        """
        g.allowance = self._rates.charge(current_client(), sent)

    def _identify(self) -> None:
        if self._keyring is None or not _needs_key():
            return
        is_exchange = request.blueprint != _REPLIES
        sent = Sent.NO if is_exchange else None
        client = g.client = self._owner_of_key(self._keyring, sent)
        request.environ[CLIENT_ENVIRON_KEY] = client.name
        if not is_exchange:
            self.charge(sent)
        elif request.url_rule is not None and not client.may_use(request.url_rule.rule):
            raise Forbidden(
                f"{request.url_rule.rule} is not open to {client.name!r}; "
                "whoever runs this gateway can add it to the client's routes",
                sent=sent,
            )

    def _owner_of_key(self, keyring: ApiKeys, sent: Sent | None) -> Client:
        given = request.headers.getlist("Authorization")
        if not given:
            detail = 'no API key came; send it as "Authorization: Bearer <key>"'
            raise Unauthorized(detail, key_given=False, sent=sent)
        key = _BEARER.fullmatch(given[0].strip(" \t"))
        client = keyring.client_of(key[1]) if key is not None else None
        if client is None:
            detail = (
                "the API key is not known here; ask whoever runs this gateway for another"
                if key is not None
                else 'Authorization is not one "Bearer <key>"; send it so, once'
            )
            raise Unauthorized(detail, key_given=True, sent=sent)
        return client


def _needs_key() -> bool:
    """Say whether this request is for a view that is not open to everybody."""
    # Neither are those that no view answers, nor a browser's question what it may send.
    if request.url_rule is None or request.method == "OPTIONS":
        return False
    return request.blueprint not in _OPEN_BLUEPRINTS


def _tell_allowance(response: Response) -> Response:
    allowance = g.get("allowance")
    if allowance is not None:
        response.headers.extend(allowance.headers())
    return response
